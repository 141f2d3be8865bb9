use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

use tokio::task::yield_now;

/// A wait until the runtime has given every other task its turn.
///
/// It is over when the runtime has come back from its look at timers and sockets, and not before: a
/// task that was woken meanwhile, by a socket or because its budget was spent, would otherwise run
/// again and again ahead of the task that runs the runtime, which may be the one that reads.
#[derive(Debug, Default)]
pub(super) struct Turn(Option<Arc<Pass>>);

/// `None` once the turn has come.
#[derive(Debug)]
struct Pass(Mutex<Option<Waker>>);

impl Turn {
    /// Gives way to all others.
    pub(super) fn give(&mut self, cx: &Context<'_>) {
        let pass = Arc::new(Pass(Mutex::new(Some(cx.waker().clone()))));
        let waker = Waker::from(pass.clone());
        // What it does when it is polled first is all that is needed: the runtime wakes the waker.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        self.0 = Some(pass);
    }

    /// Have the others still to have theirs? Then the task is woken when it is over.
    pub(super) fn is_others(&mut self, cx: &Context<'_>) -> bool {
        let waits = self.0.as_ref().is_some_and(|pass| {
            let mut driver = pass.lock();
            let waits = driver.is_some();
            if let Some(waker) = &mut *driver {
                waker.clone_from(cx.waker());
            }
            waits
        });
        if !waits {
            self.0 = None;
        }
        waits
    }
}

impl Pass {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Pass {
    fn wake(self: Arc<Self>) {
        let driver = self.lock().take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
