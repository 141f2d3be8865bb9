use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeMap, HashMap},
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tower_ws_core::jsonrpc::{Codec, splice};

use crate::dialect::{Dialect, Hears, Says, To};

/// JSON messages that subscribe to channels by name, as exchanges have them.
///
/// | | verb | names | what comes in names it in | number |
/// |---|---|---|---|---|
/// | [`new`](Self::new) | `op` | `channel` | `channel` | `id` |
/// | [`okx`](Self::okx) | `op` | `args` | `arg` | `id` |
/// | [`bybit`](Self::bybit) | `op` | `args` | `topic` | `req_id` |
/// | [`binance`](Self::binance) | `method` | `params` | `stream` | `id` |
///
/// A message whose verb is `subscribe`, in any case, begins a subscription, one with `unsubscribe`
/// ends it. A channel may be a text, an object, or several of them in a list; whatever else the
/// message says (a depth, a list of products) is part of the name, but for its number. An
/// `unsubscribe` ends what was begun by the same words; one that names some of several channels
/// leaves the others. One that names none is not understood.
///
/// ```
/// use tower_ws_subscribe::{Channels, SubscribeLayer};
/// use tower_ws_transport::{JsonText, Message};
///
/// let layer = SubscribeLayer::new(Channels::new(JsonText))
///     .standing(Message::from(r#"{"op":"subscribe","channel":"trades"}"#));
///
/// // `{"action":"subscribe","feeds":["a","b"]}`, and then `{"feed":"a", ...}`.
/// let own = Channels::new(JsonText).members("action", "feeds", "feed");
/// # fn is<M, D: tower_ws_subscribe::Dialect<M>>(_: &D) {} is::<Message, _>(&own);
/// ```
///
/// A subscription is taken for active once it is said: not all servers confirm. An answer refuses
/// if it has an `error`, `"success": false`, `"event": "error"`, or a `code` that is not 0; it
/// belongs to the message that has its number, or the channel that it names. One that says neither
/// passes.
#[derive(Clone, Debug)]
pub struct Channels<K> {
    codec: K,
    verb: Cow<'static, str>,
    names: Cow<'static, str>,
    told: Cow<'static, str>,
    number: Cow<'static, str>,
}

impl<K> Channels<K> {
    /// `{"op":"subscribe","channel":"trades"}`.
    pub fn new(codec: K) -> Self {
        Self {
            codec,
            verb: "op".into(),
            names: "channel".into(),
            told: "channel".into(),
            number: "id".into(),
        }
    }

    /// [OKX](https://www.okx.com/docs-v5/en/#overview-websocket-subscribe):
    /// `{"op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]}`.
    pub fn okx(codec: K) -> Self {
        Self::new(codec).members("op", "args", "arg")
    }

    /// [Bybit](https://bybit-exchange.github.io/docs/v5/ws/connect):
    /// `{"req_id":"1","op":"subscribe","args":["orderbook.50.BTCUSDT"]}`.
    pub fn bybit(codec: K) -> Self {
        Self::new(codec).members("op", "args", "topic").number("req_id")
    }

    /// [Binance's](https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams)
    /// combined streams: `{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}`.
    pub fn binance(codec: K) -> Self {
        Self::new(codec).members("method", "params", "stream")
    }

    /// In which members of a message the verb and the channels stand, and in which the channel of
    /// what comes in. Default `op`, `channel` and `channel`.
    #[must_use]
    pub fn members(
        mut self,
        verb: impl Into<Cow<'static, str>>,
        names: impl Into<Cow<'static, str>>,
        told: impl Into<Cow<'static, str>>,
    ) -> Self {
        (self.verb, self.names, self.told) = (verb.into(), names.into(), told.into());
        self
    }

    /// In which member a message and its answer have a number, if they have one. Default `id`.
    #[must_use]
    pub fn number(mut self, number: impl Into<Cow<'static, str>>) -> Self {
        self.number = number.into();
        self
    }

    /// Each channel of a message, with its name.
    fn channels<'a>(&self, members: &Members<'a>) -> Vec<(&'a RawValue, Box<str>)> {
        let Some(named) = members.get(&self.names) else {
            return Vec::new();
        };
        let all = match serde_json::from_str::<Vec<&'a RawValue>>(named.get()) {
            Ok(all) => all,
            Err(_) => vec![named],
        };
        let own = [&self.verb, &self.names, &self.number];
        let rest = members
            .0
            .iter()
            .filter(|(key, _)| !own.iter().any(|own| **own == key.0));
        let rest: BTreeMap<_, _> = rest.map(|(key, value)| (&*key.0, canonical(value))).collect();
        let name = |channel: &RawValue| match rest.is_empty() {
            true => canonical(channel),
            false => format!("{} {rest:?}", canonical(channel)),
        };
        all.into_iter().map(|channel| (channel, name(channel).into())).collect()
    }

    fn number_of(&self, members: &Members<'_>) -> Option<u64> {
        let number = members.get(&self.number)?.get();
        number.trim_matches('"').parse().ok()
    }

    fn names(&self, members: &Members<'_>) -> Vec<Box<str>> {
        self.channels(members).into_iter().map(|(_, name)| name).collect()
    }

    /// Only these channels.
    fn only_these(&self, text: &[u8], names: &[Box<str>]) -> Option<Bytes> {
        let members = Members::of(text)?;
        let named = members.get(&self.names)?;
        if !named.get().starts_with('[') {
            return Some(Bytes::copy_from_slice(text));
        }
        let kept = self
            .channels(&members)
            .into_iter()
            .filter(|(_, name)| names.contains(name));
        let kept: Vec<_> = kept.map(|(channel, _)| channel.get()).collect();
        splice(text, named, format!("[{}]", kept.join(",")).as_bytes())
    }

    fn with_number(&self, text: &[u8], request: u64) -> Option<Bytes> {
        let members = Members::of(text)?;
        let old = members.get(&self.number)?;
        let new = match old.get().starts_with('"') {
            true => format!("\"{request}\""),
            false => request.to_string(),
        };
        splice(text, old, new.as_bytes())
    }
}

impl<M, K: Codec<M>> Dialect<M> for Channels<K> {
    fn says(&self, message: &M) -> Says {
        let text = self.codec.text(message).filter(|text| may_subscribe(text));
        let Some(members) = text.and_then(Members::of) else {
            return Says::Other;
        };
        let names = self.names(&members);
        match members.verb(&self.verb) {
            Some(Verb::Subscribe) if !names.is_empty() => Says::Begins {
                request: self.number_of(&members),
                names,
            },
            Some(Verb::Unsubscribe) => Says::Ends {
                request: self.number_of(&members),
                names,
            },
            _ => Says::Other,
        }
    }

    fn hears<'m>(&self, message: &'m M) -> Hears<'m> {
        let Some(members) = self.codec.text(message).and_then(Members::of) else {
            return Hears::Other;
        };
        let name = members.get(&self.told).map(canonical);
        let verb = members.verb(&self.verb).or_else(|| members.verb("event"));
        if verb.is_none()
            && !members.answers()
            && let Some(name) = name
        {
            return Hears::Told(name.into());
        }
        if let Some(number) = self.number_of(&members) {
            return Hears::Answer(To::Request(number));
        }
        match (verb, name.or_else(|| members.get(&self.names).map(canonical))) {
            (Some(_), Some(name)) => Hears::Answer(To::Name(name.into())),
            _ => Hears::Other,
        }
    }

    fn answer(&self, message: &M) -> Result<Option<Box<str>>, String> {
        let members = self.codec.text(message).and_then(Members::of);
        match members.and_then(|members| members.refusal(&self.verb)) {
            Some(why) => Err(why),
            None => Ok(None),
        }
    }

    fn numbered(&self, began: &M, request: u64) -> Option<M> {
        self.codec
            .encode(self.with_number(self.codec.text(began)?, request)?)
            .ok()
    }

    fn ending(&self, began: &M, names: &[Box<str>], _: Option<&str>, request: u64) -> Option<M> {
        let text = self.only_these(self.codec.text(began)?, names)?;
        let members = Members::of(&text)?;
        let verb = members.get(&self.verb)?;
        let unsubscribe = match verb.get().bytes().any(|byte| byte.is_ascii_lowercase()) {
            true => "\"unsubscribe\"",
            false => "\"UNSUBSCRIBE\"",
        };
        let text = splice(&text, verb, unsubscribe.as_bytes())?;
        let numbered = self.with_number(&text, request);
        self.codec.encode(numbered.unwrap_or(text)).ok()
    }

    fn only(&self, began: &M, names: &[Box<str>]) -> Option<M> {
        self.codec.encode(self.only_these(self.codec.text(began)?, names)?).ok()
    }
}

enum Verb {
    Subscribe,
    Unsubscribe,
    Error,
}

/// The members of an object, and nothing of what is in them.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] HashMap<Key<'a>, &'a RawValue>);

#[derive(Deserialize, Eq, Hash, PartialEq)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Key<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> Members<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.get(key).copied().filter(|value| value.get() != "null")
    }

    fn text(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        Some(serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned()))
    }

    fn verb(&self, key: &str) -> Option<Verb> {
        match &*self.text(key)?.to_ascii_lowercase() {
            "subscribe" => Some(Verb::Subscribe),
            "unsubscribe" => Some(Verb::Unsubscribe),
            "error" => Some(Verb::Error),
            _ => None,
        }
    }

    /// It says how something went.
    fn answers(&self) -> bool {
        ["error", "success", "code"]
            .into_iter()
            .any(|key| self.get(key).is_some())
    }

    /// In the server's words.
    fn refusal(&self, verb: &str) -> Option<String> {
        let is_error = |key| matches!(self.verb(key), Some(Verb::Error));
        let code = self.text("code").is_some_and(|code| code != "0");
        let failed = self.get("success").is_some_and(|success| success.get() == "false");
        if self.get("error").is_none() && !failed && !code && !is_error(verb) && !is_error("event") {
            return None;
        }
        let words = ["error", "msg", "ret_msg", "message", "reason", "code"].into_iter();
        let mut words = words.filter_map(|key| self.text(key));
        Some(words.next().unwrap_or_else(|| "no reason was given".to_owned()))
    }
}

/// A look that is cheaper than to read it: nearly nothing that goes out subscribes.
fn may_subscribe(text: &[u8]) -> bool {
    let verb = b"ubscribe";
    text.windows(verb.len()).any(|part| part.eq_ignore_ascii_case(verb))
}

/// A text as it is; whatever else, without blanks and with its members in order, so that the same
/// channel is the same name however it is written.
fn canonical(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        Ok(value) => sorted(&value),
        Err(_) => value.get().to_owned(),
    }
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let members = members.into_iter();
            let members: Vec<_> = members
                .map(|(key, value)| format!("{key:?}:{}", sorted(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(sorted).collect();
            format!("[{}]", values.join(","))
        }
        value => value.to_string(),
    }
}
