use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The one timer of a connection: made when it is first needed, moved as rarely as possible.
///
/// A layer with several deadlines asks for the nearest of them. Two things make it cheap and right
/// where a bare [`Sleep`] is not:
///
/// - It looks at the clock before it asks the timer. tokio lets a task do only so much in one poll;
///   once that budget is spent, each `Sleep` is pending, also one whose time has come. So a peer
///   that always has something to read could put off a deadline for ever.
/// - It moves its timer only to an earlier moment, or when it fires. A deadline that moves on with
///   each message costs nothing per message, at the price of a wake-up now and then that is too
///   early.
///
/// ```
/// use std::{future::poll_fn, time::Duration};
/// use tokio::time::Instant;
/// use tower_ws_core::Alarm;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let mut alarm = Alarm::default();
/// let at = Instant::now() + Duration::from_secs(60);
/// poll_fn(|cx| alarm.poll(at, Instant::now(), cx)).await;
/// assert_eq!(Instant::now(), at);
/// # }
/// ```
#[derive(Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `at` has come. Until then the task is sure to be woken by `at`, and may be woken
    /// earlier. `now` is the present moment, which the caller has read already.
    pub fn poll(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if at <= now {
            return Poll::Ready(());
        }
        self.poll_fired(at, cx)
    }

    /// Ready once the runtime's own timer for `at` has fired: later than [`poll`](Self::poll), by
    /// which time the runtime has asked the system what came in. For whoever judges by what did
    /// not.
    pub fn poll_fired(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at || (sleep.deadline() < at && sleep.is_elapsed()) {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if sleep.deadline() == at {
            return Poll::Ready(());
        }
        // It fired for a deadline that has moved on since.
        sleep.as_mut().reset(at);
        sleep.as_mut().poll(cx)
    }

    /// True if the task that polled it last has yet to be woken by it. A sink that takes a message
    /// with a deadline asks this to find out whether the reader, who keeps the time, has to be
    /// woken.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.as_ref().map(|sleep| sleep.deadline());
        f.debug_tuple("Alarm").field(&at).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Wake, Waker},
        time::Duration,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_hides_no_deadline() {
        let mut alarm = Alarm::default();
        let at = Instant::now() + SECOND;
        poll_fn(|cx| {
            assert!(alarm.poll(at, Instant::now(), cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::time::advance(SECOND).await;
        poll_fn(|cx| {
            // tokio's budget for one poll is 128 operations.
            while tokio::task::coop::has_budget_remaining() {
                let _ = tokio::task::coop::poll_proceed(cx).map(|unit| unit.made_progress());
            }
            assert!(alarm.poll(at, Instant::now(), cx).is_ready());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_on_does_not_move_the_timer() {
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let wakes = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let mut alarm = Alarm::default();
        assert!(!alarm.is_set());
        let start = Instant::now();
        for second in 2..=10 {
            assert!(alarm.poll(start + SECOND * second, start, &mut cx).is_pending());
        }
        assert!(alarm.is_set());
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "too early, for the first of them");
        assert!(alarm.poll(start + SECOND * 10, Instant::now(), &mut cx).is_pending());
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        assert!(alarm.poll(start + SECOND * 10, Instant::now(), &mut cx).is_ready());
        assert!(!alarm.is_set());
        // Earlier than what the timer stands at: it moves.
        assert!(alarm.poll(start + SECOND * 30, Instant::now(), &mut cx).is_pending());
        assert!(alarm.poll(start + SECOND * 20, Instant::now(), &mut cx).is_pending());
        tokio::time::sleep(SECOND * 10).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    }
}
