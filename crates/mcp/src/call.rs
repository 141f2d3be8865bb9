use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep},
};
use tower_ws_client::{CallFuture, Reply, Request};

use crate::{
    error::McpError,
    input::InputRequired,
    progress::{Place, Progress},
};

/// A call that reports how far it has come. Made by [`Mcp::track`](crate::Mcp::track).
///
/// It resolves to the reply. Each report gives it [so much time](Self::idle) more, up to the limit
/// of the request; when the time is up, or it is dropped, the server is told that nobody waits any
/// more.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Tracked {
    #[pin]
    call: CallFuture,
    request: Request,
    reports: watch::Receiver<Option<Progress>>,
    /// Woken by reports, wherever they are read besides.
    #[pin]
    sleep: Sleep,
    idle: Duration,
    watched: watch::Receiver<Option<Progress>>,
    _place: Place,
}

impl Tracked {
    /// How long a call may go without an answer and without progress, by default: 60 s, as a call
    /// without reports.
    pub const IDLE: Duration = Duration::from_secs(60);

    /// How long a call with reports may take in all, by default: 1 hour. A server that reports for
    /// ever is no reason to wait for ever.
    pub const MOST: Duration = Duration::from_secs(3600);

    pub(crate) fn new(
        call: CallFuture,
        request: Request,
        place: Place,
        reports: watch::Receiver<Option<Progress>>,
    ) -> Self {
        Self {
            call,
            request,
            watched: reports.clone(),
            reports,
            sleep: sleep(Self::IDLE),
            idle: Self::IDLE,
            _place: place,
        }
    }

    /// Sets how long it may go without an answer and without progress.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self.sleep = sleep(idle);
        self
    }

    /// The reports, for somebody who shows them.
    pub fn reports(&self) -> Reporting {
        Reporting(self.reports.clone())
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// [`McpError`].
    pub async fn result<T: DeserializeOwned>(self) -> Result<T, McpError> {
        Ok(self.await?.result()?)
    }
}

impl Future for Tracked {
    type Output = Result<Reply, McpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(outcome) = this.call.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(McpError::Call).and_then(|reply| {
                match InputRequired::of(this.request, &reply) {
                    Some(input) => Err(McpError::InputRequired(Box::new(input))),
                    None => Ok(reply),
                }
            }));
        }
        loop {
            if this.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Looked at only when the time is up, so a report costs no timer.
            let seen = match this.watched.has_changed() {
                Ok(true) => this.watched.borrow_and_update().is_some(),
                _ => false,
            };
            if !seen {
                return Poll::Ready(Err(this.call.get_mut().time_is_up(*this.idle).into()));
            }
            let next = Instant::now().checked_add(*this.idle);
            this.sleep
                .as_mut()
                .reset(next.unwrap_or_else(|| Instant::now() + Tracked::MOST));
        }
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The reports of one call: the newest, for those who are slower than the server.
#[derive(Clone, Debug)]
pub struct Reporting(watch::Receiver<Option<Progress>>);

impl Reporting {
    /// The next report that has not been seen here; `None` once the call has ended. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<Progress> {
        loop {
            self.0.changed().await.ok()?;
            if let Some(report) = self.0.borrow_and_update().clone() {
                return Some(report);
            }
        }
    }
}
