//! The peer's requests, answered by a service.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tower_ws_core::{
    BoxError, find,
    jsonrpc::{Malformed, RpcError},
};

use crate::{
    mailbox::{Inbound, Incoming, Mailbox},
    peer::{Notification, ServerRequest},
};

/// What the peer asks: a method and parameters. The request of a service that
/// [answers](Inbound::answer_with).
///
/// Its `Debug` shows the method and the size, never the parameters.
#[derive(Clone)]
pub struct Asked {
    said: Notification,
    id: Box<RawValue>,
    cancelled: CancellationToken,
}

impl Asked {
    fn new(request: &ServerRequest, cancelled: CancellationToken) -> Self {
        Self {
            said: request.said().clone(),
            id: request.id().to_owned(),
            cancelled,
        }
    }

    /// The method's name.
    pub fn method(&self) -> &str {
        self.said.method()
    }

    /// The id that the peer gave it, as JSON text.
    pub fn id(&self) -> &RawValue {
        &self.id
    }

    /// Resolves when nobody waits for the answer any more: the peer has
    /// [taken the request back](crate::Cancel::cancelled), or the connection is gone that it came
    /// on. Whatever the service then answers is not sent.
    ///
    /// The service goes on meanwhile: it stops by itself if it looks, or cleans up first.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cancelled.clone().cancelled_owned()
    }

    /// True once [`cancelled`](Self::cancelled) has resolved.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Parses the parameters.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if they are no `T`. Parameters that are left out count as null.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        self.said.params()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.said).finish()
    }
}

impl Inbound {
    /// How many of the peer's requests are with a handler at once: 16. One more is answered with an
    /// error.
    pub const HANDLED: usize = 16;

    /// Answers the peer's requests by a service, in a task of its own, and gives the stream of all
    /// the rest.
    ///
    /// Each request gets a clone of the service. Its response is the result; an [`RpcError`] in its
    /// error goes to the peer as it is, any other as [`INTERNAL`](RpcError::INTERNAL) without a
    /// word of what it says. So tower's layers fit on it: a time limit, a limit of concurrency.
    ///
    /// The stream keeps its bounds, and dropping it does not end the answers. A request that the peer
    /// takes back, or whose connection is lost, is handled to its end, and its answer dropped; the
    /// service [can see that](Asked::cancelled).
    ///
    /// ```
    /// # use tower_ws_client::{Asked, Inbound};
    /// # use tower_ws_core::jsonrpc::RpcError;
    /// # fn serve(inbound: Inbound) -> Inbound {
    /// use serde_json::{Value, json};
    ///
    /// let handler = tower::service_fn(|asked: Asked| async move {
    ///     match asked.method() {
    ///         "roots/list" => Ok(json!({ "roots": [] })),
    ///         other => Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("no method {other}"))),
    ///     }
    /// });
    /// inbound.answer_with(handler)
    /// # }
    /// ```
    #[must_use]
    pub fn answer_with<H>(self, handler: H) -> Self
    where
        H: Service<Asked, Response: Serialize + Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    {
        let (mailbox, rest) = self.mailbox().like();
        tokio::spawn(serve(self, handler, mailbox));
        Self::new(rest)
    }
}

async fn serve<H>(mut inbound: Inbound, handler: H, rest: Mailbox)
where
    H: Service<Asked, Response: Serialize + Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    let mut handled = JoinSet::new();
    let mut pending = Pending::default();
    loop {
        poll_fn(|cx| rest.poll_room(cx)).await;
        let Some(item) = inbound.next().await else {
            return rest.end();
        };
        while let Some(ended) = handled.try_join_next_with_id() {
            pending.ended(ended.map_or_else(|error| error.id(), |(task, ())| task));
        }
        let item = match item {
            Incoming::Request(request) if handled.len() < Inbound::HANDLED => {
                let asked = Asked::new(&request, CancellationToken::new());
                let (id, cancelled) = (asked.id.clone(), asked.cancelled.clone());
                let task = handled.spawn(handle(handler.clone(), asked, request));
                pending.0.insert(task.id(), (id, cancelled));
                continue;
            }
            Incoming::Request(request) => {
                request.turn_away(&RpcError::new(RpcError::BUSY, "too many requests at once"));
                continue;
            }
            Incoming::Notification(told) => match inbound.cancelled(&told) {
                Some(id) if pending.cancel(|one| one.get() == id.get()) => continue,
                _ => Incoming::Notification(told),
            },
            Incoming::Down(down) => {
                pending.cancel(|_| true);
                Incoming::Down(down)
            }
            item => item,
        };
        // Kept, or told of by a gap.
        drop(rest.put(item));
    }
}

/// What is with a handler: the peer's id of it, and what says that nobody waits any more.
#[derive(Default)]
struct Pending(HashMap<Id, (Box<RawValue>, CancellationToken)>);

impl Pending {
    fn ended(&mut self, task: Id) {
        self.0.remove(&task);
    }

    /// False if there is none.
    fn cancel(&self, mut which: impl FnMut(&RawValue) -> bool) -> bool {
        let mut any = false;
        for (_, cancelled) in self.0.values().filter(|(id, _)| which(id)) {
            cancelled.cancel();
            any = true;
        }
        any
    }
}

async fn handle<H>(mut handler: H, asked: Asked, request: ServerRequest)
where
    H: Service<Asked, Response: Serialize, Error: Into<BoxError>>,
{
    let cancelled = asked.cancelled.clone();
    let ready: Result<(), BoxError> = poll_fn(|cx| handler.poll_ready(cx).map_err(Into::into)).await;
    let outcome = match ready {
        Ok(()) => handler.call(asked).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    if cancelled.is_cancelled() {
        return request.discard();
    }
    match outcome {
        Ok(result) => {
            // The peer is answered with an error then.
            if let Err(error) = request.respond(&result) {
                tracing::warn!(%error, "a handler's result is no JSON");
            }
        }
        Err(error) => {
            let internal = || RpcError::new(RpcError::INTERNAL, "the request could not be handled");
            request.reject(&find::<RpcError>(&*error).cloned().unwrap_or_else(internal));
        }
    }
}
