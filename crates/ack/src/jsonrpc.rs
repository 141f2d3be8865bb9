use std::{borrow::Cow, sync::Arc};

use tower_ws_core::{
    Outgoing, Up,
    jsonrpc::{Call, Codec, Ids, Kind, begins_as_request, begins_as_result, parse_batch, scan, with_id},
};

use crate::strategy::{Acknowledgement, Keys, Strategy};

/// JSON-RPC: the reply is the acknowledgement, and goes up as a message.
///
/// A request whose id is an integer awaits its reply. Notifications, replies of ours and requests
/// with other ids await nothing, so they are never sent again.
///
/// ```
/// use tower_ws_ack::{AckLayer, JsonRpc};
/// use tower_ws_transport::JsonText;
///
/// let layer = AckLayer::new(JsonRpc::new(JsonText).safe_methods(["*/list", "weather/now"]));
/// ```
#[derive(Clone, Debug)]
pub struct JsonRpc<K> {
    codec: K,
    safe: Arc<[Cow<'static, str>]>,
    left_alone: Arc<[Cow<'static, str>]>,
    fresh_ids: bool,
    ids: Option<Ids>,
}

impl JsonRpc<()> {
    /// The methods that may be sent twice by default: those of the
    /// [Model Context Protocol](https://modelcontextprotocol.io/specification) that only read.
    pub const SAFE_METHODS: [&'static str; 6] = [
        "*/list",
        "resources/read",
        "prompts/get",
        "completion/complete",
        "server/discover",
        "ping",
    ];
}

impl<K> JsonRpc<K> {
    /// Reads messages as `codec` does.
    pub fn new(codec: K) -> Self {
        Self {
            codec,
            safe: JsonRpc::SAFE_METHODS.map(Cow::Borrowed).into(),
            left_alone: Arc::new([]),
            fresh_ids: false,
            ids: None,
        }
    }

    /// Replaces the list of methods that may be sent twice when nobody said whether they may. A
    /// name that begins with `*` stands for all that end so; `*` alone makes everything safe: for a
    /// server that knows an id which it has seen. Default: [`SAFE_METHODS`](JsonRpc::SAFE_METHODS).
    #[must_use]
    pub fn safe_methods<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator<Item: Into<Cow<'static, str>>>,
    {
        self.safe = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves requests of these methods alone: those whose answer acknowledges nothing but is the
    /// end of something long, such as MCP's `subscriptions/listen`, and which another layer begins
    /// again. Default: none.
    #[must_use]
    pub fn leave_alone<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator<Item: Into<Cow<'static, str>>>,
    {
        self.left_alone = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Sends a request again under a new id, as MCP 2026-07-28 wants it, and gives its answer the
    /// old one.
    ///
    /// New ids come from the session's [`Ids`] in [`Up`]'s extensions, where the client finds them
    /// too. A cancellation that names the old id is not translated: the peer ignores it, and the
    /// answer finds nobody waiting.
    #[must_use]
    pub fn fresh_ids(mut self) -> Self {
        self.fresh_ids = true;
        self
    }
}

impl<M: Clone, K: Codec<M>> Strategy<M> for JsonRpc<K> {
    type Key = u64;

    fn awaits(&self, item: &Outgoing<M>) -> Option<u64> {
        let (id, method) = request(self.codec.text(&item.message)?)?;
        let is_left_alone = self.left_alone.iter().any(|each| each.as_bytes() == &*method);
        (!is_left_alone).then_some(id)
    }

    fn acknowledges(&self, message: &M) -> Option<Acknowledgement<u64>> {
        let text = self.codec.text(message)?;
        // Who sends the application nonsense under this id answers nothing else by it.
        if let Some(id) = begins_as_result(text) {
            return Some(Acknowledgement::passing(Keys::One(id)));
        }
        match scan(text) {
            Ok(Kind::Batch) => {
                let answered = parse_batch(text).ok()?.into_iter();
                let answered = answered.filter_map(|message| answered_by(scan(message.get().as_bytes()).ok()?));
                Some(Acknowledgement::passing(Keys::Each(answered.collect())))
            }
            kind => Some(Acknowledgement::passing(Keys::One(answered_by(kind.ok()?)?))),
        }
    }

    fn is_safe(&self, item: &Outgoing<M>) -> bool {
        let is_safe = |method: &[u8]| {
            self.safe.iter().any(|safe| match safe.strip_prefix('*') {
                Some(end) => method.ends_with(end.as_bytes()),
                None => method == safe.as_bytes(),
            })
        };
        let text = self.codec.text(&item.message);
        text.and_then(request).is_some_and(|(_, method)| is_safe(&method))
    }

    fn again(&mut self, item: &Outgoing<M>) -> Option<(u64, M)> {
        if !self.fresh_ids {
            return None;
        }
        let id = self.ids.as_ref()?.next_id();
        let message = self.codec.encode(with_id(self.codec.text(&item.message)?, id)?).ok()?;
        Some((id, message))
    }

    fn translate(&self, answer: M, original: &u64) -> M {
        let text = self.codec.text(&answer);
        let translated = text
            .and_then(|text| with_id(text, *original))
            .and_then(|text| self.codec.encode(text).ok());
        translated.unwrap_or(answer)
    }

    fn came_up(&mut self, up: &mut Up) {
        if self.fresh_ids {
            // The first counter is the one that the client took.
            let found = up.extensions.get::<Ids>().cloned();
            let ids = self.ids.get_or_insert_with(|| found.unwrap_or_default());
            up.extensions.insert(ids.clone());
        }
    }
}

/// Which request is answered.
fn answered_by(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Result(id) | Kind::Error(id) | Kind::Broken(id) => Some(id),
        _ => None,
    }
}

/// The id and the method of a request.
fn request(text: &[u8]) -> Option<(u64, Cow<'_, [u8]>)> {
    if let Some((id, method, _)) = begins_as_request(text) {
        return Some((id, method.into()));
    }
    let Call { id, method, .. } = Call::parse(text).ok()?;
    let method = match method {
        Cow::Borrowed(method) => method.as_bytes().into(),
        Cow::Owned(method) => method.into_bytes().into(),
    };
    Some((id?.get().parse().ok()?, method))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_ws_transport::JsonText;

    use super::*;
    use crate::strategy::Strategy;

    fn awaits(text: &str) -> Option<u64> {
        JsonRpc::new(JsonText).awaits(&Outgoing::new(text.to_owned()))
    }

    #[test]
    fn requests_await_their_reply() {
        assert_eq!(awaits(r#"{"jsonrpc":"2.0","id":7,"method":"a"}"#), Some(7));
        assert_eq!(awaits(r#"{ "method": "a", "id": 0, "jsonrpc": "2.0" }"#), Some(0));
        for text in [
            r#"{"jsonrpc":"2.0","method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":"7","method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":,"method":"a"}"#,
            "",
            "7",
        ] {
            assert_eq!(awaits(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_left_alone_awaits_nothing() {
        let strategy = JsonRpc::new(JsonText).leave_alone(["subscriptions/listen"]);
        let awaits = |method: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{}}}}"#);
            strategy.awaits(&Outgoing::new(text))
        };
        assert_eq!(awaits("subscriptions/listen"), None);
        assert_eq!(awaits("subscriptions/listening"), Some(7));
    }

    #[test]
    fn what_only_reads_is_safe() {
        let strategy = JsonRpc::new(JsonText);
        let is_safe = |strategy: &JsonRpc<JsonText>, method: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":[]}}"#);
            strategy.is_safe(&Outgoing::new(text))
        };
        for method in [
            "tools/list",
            "resources/templates/list",
            "resources/read",
            "ping",
            "server/discover",
        ] {
            assert!(is_safe(&strategy, method), "{method}");
        }
        for method in ["tools/call", "list", "tools/listing", "logging/setLevel", ""] {
            assert!(!is_safe(&strategy, method), "{method}");
        }
        assert!(is_safe(&strategy.clone().safe_methods(["*"]), "tools/call"));
        assert!(!is_safe(&strategy.safe_methods(["a"]), "tools/list"));
    }

    #[test]
    fn a_fresh_id_is_put_in_and_taken_out() {
        let mut strategy = JsonRpc::new(JsonText).fresh_ids();
        let mut up = Up::new();
        Strategy::<String>::came_up(&mut strategy, &mut up);
        let first = up.extensions.get::<Ids>().expect("it leaves its counter").next_id();
        let request = r#"{"jsonrpc":"2.0", "id" : 7 ,"method":"a","params":{"id":7}}"#;
        let request = Outgoing::new(request.to_owned());
        let (id, again) = strategy.again(&request).unwrap();
        assert!(id > first);
        assert_eq!(
            again,
            format!(r#"{{"jsonrpc":"2.0", "id" : {id} ,"method":"a","params":{{"id":7}}}}"#)
        );
        let answer = format!(r#"{{"jsonrpc":"2.0","result":{{"id":1}},"id":{id}}}"#);
        let translated: String = strategy.translate(answer, &7);
        assert_eq!(translated, r#"{"jsonrpc":"2.0","result":{"id":1},"id":7}"#);
        assert_eq!(Strategy::<String>::again(&mut JsonRpc::new(JsonText), &request), None);
    }

    proptest! {
        #[test]
        fn the_short_cut_agrees_with_the_parser(id in any::<u64>(), method in ".{0,12}") {
            let method = serde_json::Value::from(method).to_string();
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method}}}"#);
            let call = Call::parse(text.as_bytes()).unwrap();
            let (found, name) = request(text.as_bytes()).unwrap();
            prop_assert_eq!((found, &*name), (id, call.method.as_bytes()));
        }

        #[test]
        fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = request(&text);
            let _ = with_id(&text, 1);
        }
    }
}
