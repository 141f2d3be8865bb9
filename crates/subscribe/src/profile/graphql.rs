use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::jsonrpc::Codec;

use super::operation::is_subscription;
use crate::dialect::{Dialect, Hears, Says};

/// GraphQL over the subprotocol `graphql-transport-ws`
/// ([its specification](https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md)).
///
/// A `subscribe` whose operation is a `subscription` begins one, under the id that the client has
/// chosen, and under the same id again on the next connection. Queries and mutations travel by
/// `subscribe`, too, and are never said again. `complete` ends it, from either side, and so does
/// `error`.
///
/// ```
/// use tower_ws_subscribe::{GraphQl, SubscribeLayer};
/// use tower_ws_transport::{JsonText, Message};
///
/// let (layer, handle) = SubscribeLayer::<_, Message>::pair(GraphQl::new(JsonText));
/// # let _ = (layer, handle);
/// ```
///
/// `connection_init` has to be said and acknowledged on each connection before anything else: that
/// is a matter of an [`OpeningLayer`](tower_ws_core::OpeningLayer) below. The server does not
/// confirm a subscription, so one is taken for active once it is said. An id must not be used for
/// two at a time: the server closes the connection (4409).
#[derive(Clone, Debug)]
pub struct GraphQl<K> {
    codec: K,
}

impl<K> GraphQl<K> {
    /// Messages as `codec` reads them.
    pub fn new(codec: K) -> Self {
        Self { codec }
    }
}

/// A message of either side.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// What is asked for by a `subscribe`.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow, default, rename = "operationName")]
    operation: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct GraphQlError {
    message: String,
}

impl<K> GraphQl<K> {
    fn read<'m, M>(&self, message: &'m M) -> Option<(Frame<'m>, Cow<'m, str>)>
    where
        K: Codec<M>,
    {
        let mut frame: Frame<'m> = serde_json::from_slice(self.codec.text(message)?).ok()?;
        let id = frame.id.take()?;
        Some((frame, id))
    }
}

impl<M, K: Codec<M>> Dialect<M> for GraphQl<K> {
    fn says(&self, message: &M) -> Says {
        let Some((frame, id)) = self.read(message) else {
            return Says::Other;
        };
        let names = vec![id.into()];
        match &*frame.kind {
            "complete" => Says::Ends { request: None, names },
            "subscribe" => {
                let asked = frame
                    .payload
                    .and_then(|payload| serde_json::from_str(payload.get()).ok());
                let subscribes = |asked: Asked<'_>| is_subscription(&asked.query, asked.operation.as_deref());
                match asked.is_some_and(subscribes) {
                    true => Says::Begins { request: None, names },
                    false => Says::Other,
                }
            }
            _ => Says::Other,
        }
    }

    fn hears<'m>(&self, message: &'m M) -> Hears<'m> {
        match self.read(message) {
            Some((frame, id)) if frame.kind == "next" => Hears::Told(id),
            Some((frame, id)) if frame.kind == "complete" || frame.kind == "error" => Hears::Over(id),
            _ => Hears::Other,
        }
    }

    fn answer(&self, message: &M) -> Result<Option<Box<str>>, String> {
        match self.read(message) {
            Some((frame, _)) if frame.kind == "error" => {
                let payload = frame.payload.map_or("", RawValue::get);
                let errors: Vec<GraphQlError> = serde_json::from_str(payload).unwrap_or_default();
                let first = errors.into_iter().next();
                Err(first.map_or_else(|| payload.to_owned(), |error| error.message))
            }
            _ => Ok(None),
        }
    }

    fn numbered(&self, _: &M, _: u64) -> Option<M> {
        None
    }

    fn ending(&self, _: &M, names: &[Box<str>], _: Option<&str>, _: u64) -> Option<M> {
        let complete = serde_json::json!({ "id": names.first()?, "type": "complete" });
        self.codec.encode(complete.to_string().into()).ok()
    }
}
