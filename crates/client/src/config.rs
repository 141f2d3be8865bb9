use std::{fmt, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tower_ws_core::{BoxError, drive::Lag};

use crate::{layer::ClientLayer, peer::Notification, request::Request};

/// What a client does by default; see [`ClientLayer`](crate::ClientLayer) for the meaning of each.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) name: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) max_calls: usize,
    pub(crate) timeout: Duration,
    pub(crate) inbound: usize,
    pub(crate) lag: Lag,
    pub(crate) close_grace: Duration,
    pub(crate) answer_pings: bool,
    pub(crate) check: Option<Arc<dyn Check>>,
    pub(crate) cancel: Option<Arc<dyn Cancel>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            server: None,
            max_calls: ClientLayer::MAX_CALLS,
            timeout: ClientLayer::TIMEOUT,
            inbound: ClientLayer::INBOUND,
            lag: Lag::DropOldest,
            close_grace: ClientLayer::CLOSE_GRACE,
            answer_pings: true,
            check: None,
            cancel: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("server", &self.server)
            .field("max_calls", &self.max_calls)
            .field("timeout", &self.timeout)
            .field("inbound", &self.inbound)
            .field("lag", &self.lag)
            .finish_non_exhaustive()
    }
}

/// Looks at each request and notification before it is accepted. Closures implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` checks no requests",
    label = "no check",
    note = "a closure will do: `|request: &Request| Ok(())`"
)]
pub trait Check: Send + Sync {
    /// May this go out?
    ///
    /// # Errors
    ///
    /// The reason why not: the call fails with [`CallError::Refused`](crate::CallError::Refused),
    /// and nothing is sent.
    fn check(&self, request: &Request) -> Result<(), BoxError>;
}

#[diagnostic::do_not_recommend]
impl<F> Check for F
where
    F: Fn(&Request) -> Result<(), BoxError> + Send + Sync,
{
    fn check(&self, request: &Request) -> Result<(), BoxError> {
        self(request)
    }
}

/// How each side tells the other that nobody waits for an answer any more. A closure that makes the
/// notice implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` tells nobody that a call was given up",
    label = "no notice",
    note = "a closure `|id: u64| -> Request`, which makes the notice, will do"
)]
pub trait Cancel: Send + Sync {
    /// The notification that cancels our request with this id.
    fn notice(&self, id: u64) -> Request;

    /// The id of the peer's request that it takes back by this notification; `None` if that is not
    /// what it says. Default: the peer takes none back.
    fn cancelled(&self, told: &Notification) -> Option<Box<RawValue>> {
        let _ = told;
        None
    }
}

#[diagnostic::do_not_recommend]
impl<F: Fn(u64) -> Request + Send + Sync> Cancel for F {
    fn notice(&self, id: u64) -> Request {
        self(id)
    }
}
