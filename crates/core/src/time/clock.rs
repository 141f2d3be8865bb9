use std::{fmt::Debug, sync::Arc, time::SystemTime};

/// Where wall time comes from: `Retry-After` dates, token expiry, stored deadlines.
///
/// Timers never use it: they run on `tokio::time`, which tests pause. Closures implement it, so
/// that a test holds this clock too. The default is the system's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock",
    label = "no clock",
    note = "`SystemClock` is the system's; a closure `|| -> SystemTime` will do"
)]
pub trait Clock: Send + Sync {
    /// The wall time now.
    fn now(&self) -> SystemTime;
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[diagnostic::do_not_recommend]
impl<F: Fn() -> SystemTime + Send + Sync> Clock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}

impl Clock for Arc<dyn Clock> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}
