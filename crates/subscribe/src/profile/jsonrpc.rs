use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::jsonrpc::{
    Call, Codec, Kind, begins_as_result, parse_broken, parse_error, parse_result, scan, splice, with_id, write_call,
};

use crate::dialect::{Dialect, Hears, Says, To};

/// JSON-RPC 2.0 where the server gives each subscription an id, and tells under it in
/// `params.subscription`: nodes of Ethereum, Polkadot and Solana.
///
/// The request that begins a subscription is answered with the id; the request that ends it has the
/// id as its first parameter. On the next connection the server gives another: the application goes
/// on with the first.
///
/// ```
/// use tower_ws_subscribe::{JsonRpc, SubscribeLayer};
/// use tower_ws_transport::{JsonText, Message};
///
/// let layer = SubscribeLayer::<_, Message>::new(JsonRpc::ethereum(JsonText));
///
/// // A protocol of your own: what begins a subscription, and what ends it.
/// let own = JsonRpc::new(JsonText).pair("orders/watch", "orders/unwatch");
/// ```
///
/// A notification with `params.error` ends the subscription, as servers that are built of
/// [jsonrpsee](https://docs.rs/jsonrpsee) send it. Batches pass as they are.
#[derive(Clone, Debug)]
pub struct JsonRpc<K> {
    codec: K,
    pairs: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    suffixes: bool,
}

/// What begins and ends subscriptions of Ethereum's nodes
/// ([geth's documentation](https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub)).
const ETHEREUM: [(&str, &str); 1] = [("eth_subscribe", "eth_unsubscribe")];

/// The same of [Substrate](https://docs.rs/sc-rpc-api): only what may be said twice.
/// `author_submitAndWatchExtrinsic` submits, and `chainHead_v1_follow` begins something that
/// operations refer to: their callers have to know that they were lost.
const POLKADOT: [(&str, &str); 8] = [
    ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads"),
    ("chain_subscribeNewHeads", "chain_unsubscribeNewHeads"),
    ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads"),
    ("state_subscribeRuntimeVersion", "state_unsubscribeRuntimeVersion"),
    ("state_subscribeStorage", "state_unsubscribeStorage"),
    ("grandpa_subscribeJustifications", "grandpa_unsubscribeJustifications"),
    ("beefy_subscribeJustifications", "beefy_unsubscribeJustifications"),
    ("mmr_subscribe", "mmr_unsubscribe"),
];

impl<K> JsonRpc<K> {
    /// Messages as `codec` reads them; no method begins anything yet.
    pub fn new(codec: K) -> Self {
        Self {
            codec,
            pairs: Vec::new(),
            suffixes: false,
        }
    }

    /// `eth_subscribe` and `eth_unsubscribe`.
    pub fn ethereum(codec: K) -> Self {
        ETHEREUM
            .into_iter()
            .fold(Self::new(codec), |all, (begin, end)| all.pair(begin, end))
    }

    /// What nodes of Polkadot, and others that are built of Substrate, tell of: heads, storage, the
    /// version of the runtime, justifications. Not what submits (`author_submitAndWatchExtrinsic`),
    /// nor what operations refer to (`chainHead_v1_follow`): that is not to be said twice.
    pub fn polkadot(codec: K) -> Self {
        POLKADOT
            .into_iter()
            .fold(Self::new(codec), |all, (begin, end)| all.pair(begin, end))
    }

    /// Whatever ends in `Subscribe`, taken back by what ends in `Unsubscribe`, as
    /// [Solana](https://solana.com/docs/rpc/websocket) has it. But for `signatureSubscribe`: it
    /// ends by itself with the first notification, which may have come already.
    pub fn solana(codec: K) -> Self {
        Self {
            suffixes: true,
            ..Self::new(codec)
        }
    }

    /// Requests of the method `begin` begin a subscription, those of `end` end it.
    #[must_use]
    pub fn pair(mut self, begin: impl Into<Cow<'static, str>>, end: impl Into<Cow<'static, str>>) -> Self {
        self.pairs.push((begin.into(), end.into()));
        self
    }

    /// The method that ends what this one begins.
    fn undo(&self, begin: &str) -> Option<Cow<'_, str>> {
        if let Some((_, end)) = self.pairs.iter().find(|(other, _)| other == begin) {
            return Some(Cow::Borrowed(end));
        }
        let stem = begin
            .strip_suffix("Subscribe")
            .filter(|stem| self.suffixes && *stem != "signature")?;
        Some(format!("{stem}Unsubscribe").into())
    }

    fn is_undo(&self, method: &str) -> bool {
        let solana = self.suffixes && method.ends_with("Unsubscribe");
        solana || self.pairs.iter().any(|(_, end)| end == method)
    }
}

impl<M, K: Codec<M>> Dialect<M> for JsonRpc<K> {
    fn says(&self, message: &M) -> Says {
        let call = self.codec.text(message).and_then(|text| Call::parse(text).ok());
        let Some(call) = call else { return Says::Other };
        let Some(request) = call.id.and_then(|id| id.get().parse().ok()) else {
            return Says::Other;
        };
        if self.is_undo(&call.method) {
            let id = call.params.and_then(first);
            let names = id.map(|id| id.get().into()).into_iter().collect();
            let request = Some(request);
            return Says::Ends { request, names };
        }
        match self.undo(&call.method) {
            Some(_) => Says::Begins {
                request: Some(request),
                names: Vec::new(),
            },
            None => Says::Other,
        }
    }

    fn hears<'m>(&self, message: &'m M) -> Hears<'m> {
        let Some(text) = self.codec.text(message) else {
            return Hears::Other;
        };
        if let Some(id) = begins_as_result(text) {
            return Hears::Answer(To::Request(id));
        }
        match scan(text) {
            Ok(Kind::Result(id) | Kind::Error(id) | Kind::Broken(id)) => Hears::Answer(To::Request(id)),
            Ok(Kind::Call) => match told(text) {
                Some(Params {
                    subscription,
                    error: None,
                }) => Hears::Told(subscription.get().into()),
                Some(Params { subscription, .. }) => Hears::Over(subscription.get().into()),
                None => Hears::Other,
            },
            _ => Hears::Other,
        }
    }

    fn answer(&self, message: &M) -> Result<Option<Box<str>>, String> {
        let text = self.codec.text(message).unwrap_or_default();
        match scan(text) {
            Ok(Kind::Error(_)) => match parse_error(text) {
                Ok(error) => Err(error.message),
                Err(malformed) => Err(malformed.to_string()),
            },
            Ok(Kind::Result(_)) => match parse_result::<&RawValue>(text) {
                Ok(id) if is_id(id) => Ok(Some(id.get().into())),
                _ => Ok(None),
            },
            Ok(Kind::Call) => match told(text).and_then(|params| params.error) {
                Some(error) => Err(error.get().to_owned()),
                None => Ok(None),
            },
            _ => Err(parse_broken(text).to_string()),
        }
    }

    fn numbered(&self, began: &M, request: u64) -> Option<M> {
        self.codec.encode(with_id(self.codec.text(began)?, request)?).ok()
    }

    fn ending(&self, began: &M, names: &[Box<str>], undo: Option<&str>, request: u64) -> Option<M> {
        let method = match undo {
            Some(undo) => Cow::Borrowed(undo),
            None => self
                .undo(&Call::parse(self.codec.text(began)?).ok()?.method)?
                .into_owned()
                .into(),
        };
        let params = format!("[{}]", names.first()?);
        let mut text = Vec::new();
        write_call(&mut text, Some(request), &method, Some(params.as_bytes()));
        self.codec.encode(text.into()).ok()
    }

    fn gives_names(&self) -> bool {
        true
    }

    fn renamed(&self, message: &M, name: &str) -> Option<M> {
        let text = self.codec.text(message)?;
        self.codec.encode(renamed(text, name)?).ok()
    }

    /// A number stays a number, a string a string of the same digits and more.
    fn alias(&self, name: &str, nth: u64) -> Box<str> {
        match name.strip_suffix('"') {
            Some(open) => format!("{open}{nth:x}\"").into(),
            // Downwards from what any JSON parser keeps exact: servers count upwards.
            None => ((1 << 53) - 1 - nth).to_string().into(),
        }
    }
}

/// Strings and numbers, as ids are; `true` is an answer, too.
fn is_id(value: &RawValue) -> bool {
    value
        .get()
        .starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// The first parameter of a request.
fn first(params: &RawValue) -> Option<&RawValue> {
    let all: Vec<&RawValue> = serde_json::from_str(params.get()).ok()?;
    all.first().copied()
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    params: Params<'a>,
}

/// What is told, and under which id.
#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    subscription: &'a RawValue,
    /// In the place of a `result`: the server ends the subscription.
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

fn told(text: &[u8]) -> Option<Params<'_>> {
    Some(serde_json::from_slice::<Told<'_>>(text).ok()?.params)
}

/// Another id in the place where it stands: of a notification, of an answer, of a request that
/// ends.
fn renamed(text: &[u8], name: &str) -> Option<Bytes> {
    let id = match scan(text) {
        Ok(Kind::Result(_)) => parse_result::<&RawValue>(text).ok()?,
        Ok(Kind::Call) => match told(text) {
            Some(params) => params.subscription,
            None => first(Call::parse(text).ok()?.params?)?,
        },
        _ => return None,
    };
    splice(text, id, name.as_bytes())
}
