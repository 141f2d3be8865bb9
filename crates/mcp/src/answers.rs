use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};
use tower_service::Service;
use tower_ws_client::Asked;
use tower_ws_core::jsonrpc::RpcError;

use crate::{
    server::Capabilities,
    types::{Elicitation, Elicited, Root},
};

/// The application's answers to what servers ask, by method.
///
/// A legacy server asks by requests of its own: this is the service that
/// [`Inbound::answer_with`](tower_ws_client::Inbound::answer_with) takes. A modern one answers a
/// request by [questions](crate::InputRequired): [`Mcp::answering`](crate::Mcp::answering) answers
/// those. The builder of the facade does both, and declares the [capabilities](Self::capabilities).
///
/// ```
/// use tower_ws_mcp::{Answers, Elicited, Root};
///
/// let answers = Answers::new()
///     .roots(|| async { vec![Root::new("file:///project")] })
///     .elicitation(|asked| async move {
///         println!("{}", asked.message);
///         Ok(Elicited::Decline)
///     });
/// ```
///
/// An answer that nobody waits for any more, because the server has cancelled its request or the
/// connection is gone, is dropped where it stands.
#[derive(Clone, Default)]
pub struct Answers(Arc<HashMap<String, Arc<Answer>>>);

type Answer = dyn Fn(&RawValue) -> BoxFuture<'static, Result<Value, RpcError>> + Send + Sync;

impl Answers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers this method. `P` is what its parameters are read as; those that cannot be are
    /// answered with [`INVALID_PARAMS`](RpcError::INVALID_PARAMS). Parameters that are left out are
    /// null.
    #[must_use]
    pub fn on<P, R, F, Fut>(mut self, method: impl Into<String>, answer: F) -> Self
    where
        P: DeserializeOwned,
        R: Serialize,
        F: Fn(P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
    {
        let answer = move |params: &RawValue| -> BoxFuture<'static, Result<Value, RpcError>> {
            match serde_json::from_str(params.get()) {
                Ok(params) => {
                    let answering = answer(params);
                    Box::pin(async move {
                        let internal = |_| RpcError::new(RpcError::INTERNAL, "the answer is no JSON");
                        serde_json::to_value(answering.await?).map_err(internal)
                    })
                }
                Err(error) => {
                    let why = format!("the parameters cannot be read: {error}");
                    Box::pin(std::future::ready(Err(RpcError::new(RpcError::INVALID_PARAMS, why))))
                }
            }
        };
        Arc::make_mut(&mut self.0).insert(method.into(), Arc::new(answer));
        self
    }

    /// Answers `roots/list`: which folders the server may look at.
    #[must_use]
    pub fn roots<F, Fut>(self, answer: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Root>> + Send + 'static,
    {
        #[derive(Serialize)]
        struct Roots {
            roots: Vec<Root>,
        }
        self.on("roots/list", move |_: Value| {
            let roots = answer();
            async move { Ok(Roots { roots: roots.await }) }
        })
    }

    /// Answers `elicitation/create`: what the person says to a question of the server's.
    #[must_use]
    pub fn elicitation<F, Fut>(self, answer: F) -> Self
    where
        F: Fn(Elicitation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Elicited, RpcError>> + Send + 'static,
    {
        self.on("elicitation/create", answer)
    }

    /// Answers `sampling/createMessage`: what a model says. Both sides are as the specification has
    /// them, in JSON.
    #[must_use]
    pub fn sampling<F, Fut>(self, answer: F) -> Self
    where
        F: Fn(Map<String, Value>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        self.on("sampling/createMessage", answer)
    }

    /// What has to be declared for servers to ask this.
    pub fn capabilities(&self) -> Capabilities {
        let known = [
            ("roots/list", "roots"),
            ("elicitation/create", "elicitation"),
            ("sampling/createMessage", "sampling"),
        ];
        let declared = known.into_iter().filter(|(method, _)| self.0.contains_key(*method));
        declared.fold(Capabilities::new(), |capabilities, (_, name)| {
            capabilities.with(name, Map::new().into())
        })
    }

    /// The answer to a method, under way; `None` if there is none.
    pub(crate) fn answer(
        &self,
        method: &str,
        params: &RawValue,
    ) -> Option<BoxFuture<'static, Result<Value, RpcError>>> {
        Some(self.0.get(method)?(params))
    }
}

impl Service<Asked> for Answers {
    type Response = Value;
    type Error = RpcError;
    type Future = BoxFuture<'static, Result<Value, RpcError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        let params = asked.params::<Box<RawValue>>();
        let params = params.as_deref().unwrap_or(RawValue::NULL);
        let answering = self.answer(asked.method(), params);
        Box::pin(async move {
            let Some(answering) = answering else {
                let why = format!("this client has no method `{}`", asked.method());
                return Err(RpcError::new(RpcError::METHOD_NOT_FOUND, why));
            };
            tokio::select! {
                answer = answering => answer,
                // Whatever is answered now is not sent.
                () = asked.cancelled() => Ok(Value::Null),
            }
        })
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
