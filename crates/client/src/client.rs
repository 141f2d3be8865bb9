use std::{
    borrow::Borrow,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::PollSemaphore;
use tower_service::Service;
use tower_ws_core::{
    jsonrpc::{parse_broken, parse_error},
    later,
};
use tracing::{Span, field};

use crate::{
    error::CallError,
    outbox::Outbox,
    request::{Reply, Request},
    shared::Shared,
    table::Answer,
};

/// A handle on a session: a cloneable [`Service`] from [`Request`] to [`Reply`].
///
/// It is ready when there is room for one more call; a clone has to get ready itself. A handle that
/// is ready holds that room until it calls or is dropped; [`send`](Self::send),
/// [`request`](Self::request) and [`notify`](Self::notify) take room of their own. Calls go out in
/// the order in which [`call`](Service::call) is called, and wait while the connection is down.
/// Dropping a call's future takes it back if it was not sent, and tells the peer if it was and the
/// protocol [can](crate::ClientLayer::on_cancel).
///
/// When the last client is dropped the session ends in order: what is under way may finish for a
/// [while](crate::ClientLayer::close_grace), then the connection is closed.
pub struct Client {
    shared: Arc<Shared>,
    room: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.client_made();
        Self {
            room: PollSemaphore::new(shared.room.clone()),
            shared,
            permit: None,
        }
    }

    /// Calls a method and parses the result. Waits for room first.
    ///
    /// # Errors
    ///
    /// [`CallError`]; its [`may_have_been_seen`](CallError::may_have_been_seen) says whether trying
    /// again is safe.
    pub async fn request<P, R>(&self, method: &'static str, params: &P) -> Result<R, CallError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let request = Request::new(method).params(params).map_err(CallError::Params)?;
        self.make(&request).await?.result()
    }

    /// Makes a call. Waits for room first. A request that is borrowed can be made again.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn send(&self, request: impl Borrow<Request>) -> Result<Reply, CallError> {
        self.make(request.borrow()).await
    }

    async fn make(&self, request: &Request) -> Result<Reply, CallError> {
        let made = Instant::now();
        let permit = self.permit(made, request).await?;
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        self.start(made, request, permit, Some(waker)).await
    }

    /// Tells the peer something. Waits for room, not for the notification to be written: should it
    /// never be, an [`Undelivered`](crate::Incoming::Undelivered) says so. There is room for as many
    /// as for [calls](crate::ClientLayer::max_calls), and for 16 MiB of them, or for one that is
    /// larger.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`]; [`CallError::TimedOut`] if there was no room within its time; or
    /// [`CallError::Closed`] once the session has ended.
    pub async fn notify(&self, request: Request) -> Result<(), CallError> {
        self.check(&request)?;
        let made = Instant::now();
        // First these: who waits for them keeps no call waiting.
        let bytes = Outbox::notification_bytes(&request);
        let bytes = self.room_in(&self.shared.notification_bytes, bytes, made, &request);
        let bytes = bytes.await?;
        let permit = self.permit(made, &request).await?;
        self.shared.notify(made, &request, [permit, bytes])
    }

    /// Ends the session: accepts nothing more, waits until what is under way has ended or `grace`
    /// is over, closes the connection, and hands back what was left. Dropping this future does not
    /// undo it.
    ///
    /// Bounded by `grace` and the connection's own closing deadline.
    pub async fn close(&self, grace: Duration) -> Leftovers {
        self.shared.drain(grace);
        self.shared.ended().await
    }

    /// Room for one more, within the time that the request may take: it runs from when the caller
    /// made it.
    async fn permit(&self, made: Instant, request: &Request) -> Result<OwnedSemaphorePermit, CallError> {
        self.room_in(&self.shared.room, 1, made, request).await
    }

    async fn room_in(
        &self,
        room: &Arc<Semaphore>,
        many: u32,
        made: Instant,
        request: &Request,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(permit) = room.clone().try_acquire_many_owned(many) {
            return Ok(permit);
        }
        let limit = self.shared.limit(request);
        let room = room.clone().acquire_many_owned(many);
        match timeout_at(later(made, limit), room).await {
            Ok(permit) => permit.map_err(|_| self.shared.closed()),
            Err(_) => Err(CallError::TimedOut {
                limit,
                sent: false,
                cause: self.shared.lock().outage_cause.get(),
            }),
        }
    }

    /// Makes a call of the task that this waker wakes, if it is known already.
    fn start(
        &self,
        made: Instant,
        request: &Request,
        permit: OwnedSemaphorePermit,
        waker: Option<Waker>,
    ) -> CallFuture {
        let parked = waker.is_some();
        let span = tracing::debug_span!(
            "call",
            rpc.system = "jsonrpc",
            rpc.method = request.method(),
            rpc.jsonrpc.request_id = field::Empty,
            outcome = field::Empty
        );
        let accepted = self
            .check(request)
            .and_then(|()| self.shared.call(made, request, permit, waker));
        let state = match accepted {
            Ok(id) => {
                span.record("rpc.jsonrpc.request_id", id);
                Call::Waiting {
                    shared: self.shared.clone(),
                    id,
                    parked,
                }
            }
            Err(error) => Call::Failed(error),
        };
        CallFuture { state, span }
    }

    fn check(&self, request: &Request) -> Result<(), CallError> {
        match &self.shared.config.check {
            Some(check) => check.check(request).map_err(CallError::Refused),
            None => Ok(()),
        }
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        // Room is taken by one handle: the clone has to ask for its own.
        Self::new(self.shared.clone())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.client_dropped();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Service<Request> for Client {
    type Response = Reply;
    type Error = CallError;
    type Future = CallFuture;

    /// # Errors
    ///
    /// [`CallError::Closed`] once the session is ending or has ended. While the connection is
    /// merely down there is no error: calls wait.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        if self.shared.room.is_closed() {
            self.permit = None;
            return Poll::Ready(Err(self.shared.closed()));
        }
        if self.permit.is_none() {
            match ready!(self.room.poll_acquire(cx)) {
                Some(permit) => self.permit = Some(permit),
                None => return Poll::Ready(Err(self.shared.closed())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// If it was not ready.
    fn call(&mut self, request: Request) -> CallFuture {
        let permit = self.permit.take().expect("`poll_ready` must be ready before `call`");
        self.start(Instant::now(), &request, permit, None)
    }
}

/// A call under way.
///
/// Dropping it is safe at any time: a request that was not sent never will be; of one that was
/// sent, the peer is told if the protocol can. A late answer is ignored.
///
/// It is a `tracing` span, `call`, at `DEBUG`: what has no subscriber for it costs a look at one
/// number.
#[must_use = "futures do nothing unless polled"]
pub struct CallFuture {
    state: Call,
    /// From the call to its outcome.
    span: Span,
}

enum Call {
    Waiting {
        shared: Arc<Shared>,
        id: u64,
        /// The task that polls next is the one that will be woken: it need not look.
        parked: bool,
    },
    Failed(CallError),
    Done,
}

impl CallFuture {
    /// The id that the request was given; `None` once the call has ended, or if it was not taken. A
    /// layer below may send it [again](tower_ws_core::jsonrpc::Ids) under another, and gives the
    /// answer this one.
    pub fn id(&self) -> Option<u64> {
        match &self.state {
            Call::Waiting { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Gives up because its time, `limit`, is up by a clock of the caller's own. The same as dropping
    /// it, but that it counts among the calls that the peer has left
    /// [unanswered](tower_ws_core::Suspicion). Gives [`CallError::TimedOut`].
    pub fn time_is_up(&mut self, limit: Duration) -> CallError {
        let (mut sent, mut cause) = (false, None);
        if let Call::Waiting { shared, id, .. } = std::mem::replace(&mut self.state, Call::Done) {
            (sent, cause) = shared.time_is_up(id);
            self.span.record("outcome", "timed_out");
        }
        CallError::TimedOut { limit, sent, cause }
    }
}

impl Future for CallFuture {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.state {
            Call::Waiting { parked, .. } if *parked => {
                *parked = false;
                return Poll::Pending;
            }
            Call::Waiting { shared, id, .. } => ready!(shared.poll_outcome(*id, cx)),
            _ => match std::mem::replace(&mut self.state, Call::Done) {
                Call::Failed(error) => Err(error),
                _ => panic!("polled after it was ready, which futures forbid"),
            },
        };
        self.state = Call::Done;
        let outcome = match outcome {
            Ok(Answer::Result(text)) => Ok(Reply::new(text)),
            Ok(Answer::Error(text)) => Err(match parse_error(&text) {
                Ok(error) => CallError::Rpc(error),
                Err(malformed) => CallError::Malformed(malformed),
            }),
            Ok(Answer::Broken(text)) => Err(CallError::Malformed(parse_broken(&text))),
            Err(error) => Err(error),
        };
        self.span
            .record("outcome", outcome.as_ref().map_or_else(CallError::as_str, |_| "ok"));
        Poll::Ready(outcome)
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        if let Call::Waiting { shared, id, .. } = &self.state {
            shared.abandon(*id);
            self.span.record("outcome", "cancelled");
        }
    }
}

impl fmt::Debug for CallFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallFuture")
    }
}

/// What was left when a session ended.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Leftovers {
    /// Accepted, and not a byte of it sent: sending it again elsewhere is safe. In order.
    pub unsent: Vec<Request>,
    /// How many calls were sent and not answered; each failed as
    /// [`Interrupted`](CallError::Interrupted).
    pub unanswered: usize,
}
