use std::{task::Context, time::Duration};

use tokio::time::Instant;
use tower_ws_core::{Alarm, later};

/// Notices that a writer waits for a session that nobody reads. Reading is what redials: a program
/// that waits for its send before it reads on waits for ever, and has no other way to learn why.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Since when whoever reads has had something to do.
    since: Option<Instant>,
    told: bool,
    alarm: Alarm,
}

impl Unread {
    /// For so long a reader may have something to do before it is said that there is none: 5 s, more
    /// than a program takes for an event, unless it waits for something that never comes.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Somebody reads.
    pub(crate) fn is_read(&mut self) {
        (self.since, self.told) = (None, false);
    }

    /// A writer waits, and there has been something to do for a reader since `due`, or from now on.
    pub(crate) fn waits(&mut self, due: Option<Instant>, now: Instant, cx: &mut Context<'_>) {
        let since = due.unwrap_or_else(|| *self.since.get_or_insert(now));
        if !self.told && self.alarm.poll(later(since, Self::PATIENCE), now, cx).is_ready() {
            self.told = true;
            tracing::warn!(
                "a message waits to be sent, and nobody reads this session, which redials only while it is read: \
                 read in another task than the one that sends, or let `MessagesLayer` do both"
            );
        }
    }
}
