//! The peer's requests, answered by a service.

use std::{fmt, future::poll_fn};

use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;
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
pub struct Asked(Notification);

impl Asked {
    /// The method's name.
    pub fn method(&self) -> &str {
        self.0.method()
    }

    /// Parses the parameters.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if they are no `T`. Parameters that are left out count as null.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        self.0.params()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.0).finish()
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
    /// The stream keeps its bounds, and dropping it does not end the answers. A request whose
    /// connection is lost is handled to its end, and its answer dropped.
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
        rest
    }
}

async fn serve<H>(mut inbound: Inbound, handler: H, rest: Mailbox)
where
    H: Service<Asked, Response: Serialize + Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    let mut handled = JoinSet::new();
    loop {
        poll_fn(|cx| rest.poll_room(cx)).await;
        let Some(item) = inbound.next().await else {
            return rest.end();
        };
        while handled.try_join_next().is_some() {}
        match item {
            Incoming::Request(request) if handled.len() < Inbound::HANDLED => {
                handled.spawn(handle(handler.clone(), request));
            }
            Incoming::Request(request) => {
                request.turn_away(&RpcError::new(RpcError::BUSY, "too many requests at once"));
            }
            // Kept, or told of by a gap.
            item => drop(rest.put(item)),
        }
    }
}

async fn handle<H>(mut handler: H, request: ServerRequest)
where
    H: Service<Asked, Response: Serialize, Error: Into<BoxError>>,
{
    let asked = Asked(request.said().clone());
    let ready: Result<(), BoxError> = poll_fn(|cx| handler.poll_ready(cx).map_err(Into::into)).await;
    let outcome = match ready {
        Ok(()) => handler.call(asked).await.map_err(Into::into),
        Err(error) => Err(error),
    };
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
