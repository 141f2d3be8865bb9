use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer, made when first needed.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Resolves once `at` may have come. It may be early: a timer that is moved with each message costs each message.
    pub(crate) fn poll(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else {
            return Poll::Pending;
        };
        let sleep = match &mut self.0 {
            Some(sleep) => {
                if sleep.deadline() > at || sleep.is_elapsed() {
                    sleep.as_mut().reset(at);
                }
                sleep
            }
            none => none.insert(Box::pin(sleep_until(at))),
        };
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.as_ref().map(|sleep| sleep.deadline());
        f.debug_tuple("Alarm").field(&at).finish()
    }
}
