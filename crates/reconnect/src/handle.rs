use std::{fmt, time::Duration};

use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use tower_ws_core::{Failure, Reading, Readings, Shared, Value};

use crate::session::Hub;

/// Watches one session and tells it when to dial. Cheap to clone, works from any thread.
///
/// [`ReconnectLayer::pair`](crate::ReconnectLayer::pair) gives one out before there is a session;
/// the session's own is in the extensions of each [`Up`](tower_ws_core::Up). A handle never keeps a
/// session alive, and commands to a session that has ended do nothing.
///
/// It is for dashboards, tests and the word from outside that the network changed. The order of
/// things is told by the connection's events alone.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

/// A session at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where the session stands.
    pub state: State,
    /// Since when there is no connection: from the first dial, from the loss of the last connection, or
    /// from the end. `None` while there is one, and before a session has begun.
    pub down_since: Option<Instant>,
    /// How many control messages were [discarded](Handle::discarded) without an event.
    pub discarded: u64,
}

impl Handle {
    /// The session now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.0.now(),
            down_since: self.0.down_since(),
            discarded: self.discarded(),
        }
    }

    /// The present state, and each one that follows: those in between may be skipped. After the
    /// session has ended the state stays at [`Closed`](State::Closed) or [`Failed`](State::Failed),
    /// unless the same [`pair`](crate::ReconnectLayer::pair) begins another session.
    pub fn state(&self) -> watch::Receiver<State> {
        self.0.state()
    }

    /// Every transition from now on. Who falls [`Handle::LAG`] behind loses the oldest, and is told
    /// so by [`RecvError::Lagged`](broadcast::error::RecvError::Lagged).
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.0.transitions()
    }

    /// How many transitions are kept for who is slow to receive them: 64, some ten outages.
    pub const LAG: usize = 64;

    /// Dials as soon as the [spacing](crate::ReconnectLayer::min_spacing) of attempts and a shared
    /// [`Budget`](crate::Budget) allow. Calls coalesce.
    ///
    /// While backing off, it cuts the delay short. While connected, it closes the connection in
    /// order (which takes until the peer answers, or the transport's close deadline) and dials
    /// anew: for a network that has changed under a connection which does not notice. While a dial
    /// is in progress, or offline, it does nothing.
    pub fn reconnect_now(&self) {
        self.0.ask_to_reconnect();
    }

    /// Stops dialling, until [`go_online`](Self::go_online). An open connection is closed in order,
    /// a dial in progress is cancelled, the session lives on.
    pub fn go_offline(&self) {
        self.0.set_offline(true);
    }

    /// Dials again, as soon as the spacing of attempts and a shared budget allow.
    pub fn go_online(&self) {
        self.0.set_offline(false);
    }

    /// How many control messages were discarded without an event: handed over while there was no
    /// connection, by somebody who does not read, with nobody waiting for them. See [the
    /// connection](crate::ReconnectConnection#what-happens-to-messages-while-there-is-no-connection).
    pub fn discarded(&self) -> u64 {
        self.0.discarded()
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let state = self.now().as_str();
        for word in ["connecting", "connected", "backing_off", "offline"] {
            let text = "sessions that have been up once and have not ended, by state";
            let reading = Reading::new(
                "reconnect_sessions",
                text,
                Value::Gauge(f64::from(u8::from(state == word))),
            );
            show(reading.label("state", word));
        }
        let text = "control messages discarded without an event: no connection, and nobody who reads";
        show(Reading::new(
            "reconnect_discarded_total",
            text,
            Value::Counter(self.discarded()),
        ));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.0.now()).finish()
    }
}

/// Where a session stands.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum State {
    /// No session has begun.
    #[default]
    Disconnected,
    /// A dial is in progress.
    Connecting {
        /// Which attempt of this outage it is, from 1.
        attempt: u32,
        /// Why the one before it failed, or did not last.
        cause: Option<Failure>,
    },
    /// Up.
    Connected {
        /// Which connection of the session it is, from 1.
        epoch: u64,
    },
    /// Not connected, and waiting to dial.
    BackingOff {
        /// Which attempt of this outage comes next, from 1.
        attempt: u32,
        /// When it begins.
        until: Instant,
        /// What went wrong; or, before the first dial, that a shared [`Budget`](crate::Budget) puts
        /// it off.
        cause: Failure,
        /// When a refusal ends the session, if the peer [refuses](crate#when-a-refusal-is-final) it
        /// now and has not before; `None` otherwise.
        final_at: Option<Instant>,
    },
    /// Down, and not dialling until [`Handle::go_online`].
    Offline,
    /// The session ended on request, or was dropped.
    Closed,
    /// The session ended because the policy gave up.
    Failed {
        /// What it gave up on.
        cause: Failure,
    },
}

impl State {
    /// The name used in logs and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting { .. } => "connecting",
            Self::Connected { .. } => "connected",
            Self::BackingOff { .. } => "backing_off",
            Self::Offline => "offline",
            Self::Closed => "closed",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A session went from one state to another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transition {
    /// The new state.
    pub state: State,
    /// The last connection that came up; 0 if none has.
    pub epoch: u64,
    /// Which attempt of this outage is in progress or comes next, from 1.
    pub attempt: u32,
    /// What went wrong or is waited for, if something is.
    pub cause: Option<Failure>,
    /// How long until the next attempt, if one is planned.
    pub delay: Option<Duration>,
}
