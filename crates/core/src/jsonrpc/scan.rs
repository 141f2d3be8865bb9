use super::{
    Malformed,
    envelope::{Envelope, Names},
    skip::{blank, value},
};

/// What a JSON-RPC text is, as far as routing needs to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The answer to the request with this id: a result.
    Result(u64),
    /// The answer to the request with this id: an error.
    Error(u64),
    /// An answer to the request with this id that is out of form: its sender may not have meant it,
    /// and will send no other. [`parse_broken`](super::parse_broken) says what is wrong.
    Broken(u64),
    /// A request or a notification of the peer's. [`Call::parse`](super::Call::parse) reads it.
    Call,
    /// Several messages. [`parse_batch`](super::parse_batch) takes them apart.
    Batch,
    /// A well-formed answer to no request that could be ours: its id is null, missing or no positive
    /// integer, nor one that some gateway has made a string (`"7"`, but not `"07"`) or a fraction
    /// (`7.0`) of.
    Stray,
}

/// Looks at the envelope of a JSON-RPC text. The order of its members makes no difference.
///
/// | the text | is |
/// |---|---|
/// | version, id and a result; `error` may be there as null | a result |
/// | version, id and an `error` that is not null; `result` may be there as null | an error |
/// | a method, and neither result nor error | a call |
/// | has an id of ours and a `result` or `error`, and breaks a rule: another or no `jsonrpc`, a member twice, a result and an error, a method; or an id of ours and nothing else | broken: that call is over |
/// | has two ids | malformed: whose answer it is, nobody knows |
///
/// A byte order mark before it is passed over.
///
/// # Errors
///
/// [`Malformed`] if it is no JSON-RPC 2.0 object, and has no id of ours. What `result` or `error`
/// hold is checked when they are parsed, and so is whether a text that no codec has looked at is
/// UTF-8.
pub fn scan(text: &[u8]) -> Result<Kind, Malformed> {
    let text = without_mark(text);
    match scan_usual(text) {
        Some(kind) => Ok(kind),
        None => scan_any(text),
    }
}

/// What a text is made of, for a log: the names of its members, and nothing that they say.
pub fn shape(text: &[u8]) -> String {
    const MOST: usize = 8;
    let bytes = text.len();
    match serde_json::from_slice::<Names>(without_mark(text)) {
        Ok(Names(names)) if names.len() > MOST => format!("{bytes} bytes with {}, …", names[..MOST].join(", ")),
        Ok(Names(names)) if names.is_empty() => format!("{bytes} bytes, an empty object"),
        Ok(Names(names)) => format!("{bytes} bytes with {}", names.join(", ")),
        Err(error) if error.is_data() => format!("{bytes} bytes, JSON and no object"),
        Err(_) => format!("{bytes} bytes, no JSON"),
    }
}

/// The id of a text that begins as nearly all results do: with version, id and `result`, in this
/// order and without blanks. A shorter look than [`scan`], which says what the text really is: of one
/// that goes on as it should not, only that it cannot be the answer to another request of ours.
pub fn begins_as_result(text: &[u8]) -> Option<u64> {
    canonical(text).map(|(id, ..)| id)
}

/// What a request begins with whose members come in the order in which [`write_call`](super::write_call)
/// writes them, without blanks: the id, the method as it is spelled, which has no escapes, and the
/// text from behind the method's quote on. A shorter look than [`Call::parse`](super::Call::parse), for
/// texts of this side's own: whether they are JSON it does not say.
pub fn begins_as_request(text: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let mut rest = text.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let id = integer(&mut rest)?;
    let rest = rest.strip_prefix(br#","method":""#)?;
    let (method, rest) = rest.split_at(rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?);
    Some((id, method, rest.strip_prefix(b"\"")?))
}

/// Without a byte order mark, which [RFC 8259, section 8.1](https://www.rfc-editor.org/rfc/rfc8259#section-8.1)
/// lets a reader pass over.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The whole object by a parser.
fn scan_any(text: &[u8]) -> Result<Kind, Malformed> {
    if blank(text).starts_with(b"[") {
        return Ok(Kind::Batch);
    }
    match serde_json::from_slice::<Envelope<'_>>(text) {
        Ok(envelope) => envelope.kind(),
        // What begins as an answer of ours ends that call, however it goes on.
        Err(error) => match beginning(text) {
            Some((id, ..)) => Ok(Kind::Broken(id)),
            None => Err(error.into()),
        },
    }
}

impl Envelope<'_> {
    fn kind(&self) -> Result<Kind, Malformed> {
        if self.two_ids {
            return Err(Malformed::TwoIds);
        }
        let answers = self.result.is_some() || self.error.is_some();
        if self.method.is_some() && !answers {
            return self.fault().map_or(Ok(Kind::Call), Err);
        }
        match (self.own_id(), self.fault()) {
            (Some(id), Some(_)) => Ok(Kind::Broken(id)),
            (Some(id), None) if self.has_error() => Ok(Kind::Error(id)),
            (Some(id), None) => Ok(Kind::Result(id)),
            (None, None) => Ok(Kind::Stray),
            (None, Some(fault)) => Err(fault),
        }
    }

    /// Which rule it breaks, beside that of one id.
    pub(super) fn fault(&self) -> Option<Malformed> {
        let call = self.method.is_some();
        let error = self.has_error();
        let result = self.result.is_some_and(|result| !error || result.get() != "null");
        if !self.is_version_2() {
            Some(Malformed::Version)
        } else if self.doubled {
            Some(Malformed::Doubled)
        } else if [call, result, error].into_iter().filter(|there| *there).count() != 1 {
            Some(Malformed::Shape)
        } else {
            None
        }
    }
}

/// The usual order and nothing else: version and id (in either order), then `result` or `error`.
/// `None`: look closer.
fn scan_usual(text: &[u8]) -> Option<Kind> {
    let (id, is_result, rest) = beginning(text)?;
    if !is_result && rest.starts_with(b"null") {
        return None;
    }
    let rest = blank(value(rest)?).strip_prefix(b"}")?;
    blank(rest)
        .is_empty()
        .then_some(if is_result { Kind::Result(id) } else { Kind::Error(id) })
}

/// The id, whether a `result` follows or an `error`, and the text from its value on.
pub(super) fn beginning(text: &[u8]) -> Option<(u64, bool, &[u8])> {
    canonical(text).or_else(|| any_beginning(text))
}

/// As nearly all peers write it: in this order, and without blanks.
fn canonical(text: &[u8]) -> Option<(u64, bool, &[u8])> {
    let mut rest = text.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let id = integer(&mut rest)?;
    let rest = rest.strip_prefix(br#","result":"#)?;
    Some((id, true, blank(rest)))
}

fn any_beginning(text: &[u8]) -> Option<(u64, bool, &[u8])> {
    let mut rest = punctuation(text, b'{')?;
    let (mut version, mut id) = (false, None);
    loop {
        let key = string(&mut rest)?;
        rest = punctuation(rest, b':')?;
        match key {
            b"jsonrpc" if !version && string(&mut rest)? == b"2.0" => version = true,
            b"id" if id.is_none() => id = Some(integer(&mut rest)?),
            b"result" if version => return Some((id?, true, rest)),
            b"error" if version => return Some((id?, false, rest)),
            _ => return None,
        }
        rest = punctuation(rest, b',')?;
    }
}

fn punctuation(text: &[u8], mark: u8) -> Option<&[u8]> {
    Some(blank(blank(text).strip_prefix(&[mark])?))
}

/// A string without escapes, such as every key of an envelope is.
fn string<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(b"\"")?;
    let end = rest.iter().take(16).position(|&byte| byte == b'"' || byte == b'\\')?;
    *text = rest[end..].strip_prefix(b"\"")?;
    Some(&rest[..end])
}

fn integer(text: &mut &[u8]) -> Option<u64> {
    let (mut value, mut digits) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        if digits == 16 {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        digits += 1;
    }
    let canonical = digits == 1 || text.first() != Some(&b'0');
    *text = &text[digits..];
    (digits > 0 && canonical).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_shape_is_told_apart() {
        for (text, kind) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, Kind::Result(7)),
            (r#"{ "id": 7, "jsonrpc": "2.0", "result": null }"#, Kind::Result(7)),
            (r#"{"result":1,"id":7,"jsonrpc":"2.0"}"#, Kind::Result(7)),
            (r#"{"jsonrpc":"2.0","id":7,"result":1,"error":null}"#, Kind::Result(7)),
            ("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}", Kind::Result(7)),
            (
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
                Kind::Error(7),
            ),
            (r#"{"jsonrpc":"2.0","id":7,"result":null,"error":{}}"#, Kind::Error(7)),
            (r#"{"error":{},"jsonrpc":"2.0","result":null,"id":7}"#, Kind::Error(7)),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
                Kind::Stray,
            ),
            (r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#, Kind::Stray),
            (r#"{"jsonrpc":"2.0","id":"7","result":1}"#, Kind::Result(7)),
            (r#"{"jsonrpc":"2.0","id":7.0,"result":1}"#, Kind::Result(7)),
            (r#"{"jsonrpc":"2.0","id":"0","result":1}"#, Kind::Result(0)),
            (r#"{"jsonrpc":"2.0","method":"m"}"#, Kind::Call),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":[]}"#, Kind::Call),
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap(), kind, "{text}");
        }
        assert_eq!(scan(b" [").unwrap(), Kind::Batch);
        for id in [
            "\"7a\"",
            "7.5",
            "-7",
            "\"007\"",
            "\"+7\"",
            "\"7.0\"",
            "7e0",
            "\"\"",
            "[7]",
            "18446744073709551616",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
            assert_eq!(scan(text.as_bytes()).unwrap(), Kind::Stray, "{text}");
        }
    }

    /// The short cut has eyes for nothing else.
    #[test]
    fn a_number_that_is_none_is_no_id() {
        for id in ["", "-", "01", "1.", "99999999999999999999", "\"\""] {
            for member in ["result", "error"] {
                let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{{}}}}"#);
                assert!(
                    !matches!(scan(text.as_bytes()), Ok(Kind::Result(_) | Kind::Error(_))),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_shape_has_names_and_no_values() {
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","secret\n":"hunter2"}"#,
                r#"38 bytes with "jsonrpc", "secret\n""#,
            ),
            ("{}", "2 bytes, an empty object"),
            ("[1]", "3 bytes, JSON and no object"),
            ("hunter2", "7 bytes, no JSON"),
        ] {
            assert_eq!(shape(text.as_bytes()), expected, "{text}");
        }
        let many: Vec<_> = (0..1000).map(|n| format!("\"{n}{}\":1", "x".repeat(1000))).collect();
        assert!(shape(format!("{{{}}}", many.join(",")).as_bytes()).len() < 400);
        for (members, cut) in [(8, false), (9, true)] {
            let text = format!("{{{}}}", many[..members].join(","));
            assert_eq!(shape(text.as_bytes()).ends_with('…'), cut, "{text}");
        }
    }

    #[test]
    fn the_beginning_of_a_result_has_its_id() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":1}"#, Some(7)),
            (r#"{"jsonrpc":"2.0","id":7,"result": "#, Some(7)),
            (r#"{"jsonrpc":"2.0","id":7,"error":1}"#, None),
            (r#"{"id":7,"jsonrpc":"2.0","result":1}"#, None),
        ] {
            assert_eq!(begins_as_result(text.as_bytes()), id, "{text}");
        }
    }

    #[test]
    fn the_beginning_of_a_request_has_its_method() {
        for (text, beginning) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"é","params":[]}"#,
                Some((7, "é", r#","params":[]}"#)),
            ),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m""#, Some((7, "m", ""))),
            (r#"{"jsonrpc":"2.0","id":7,"method":"a\"b"}"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m"#, None),
            (r#"{"jsonrpc":"2.0","id":"7","method":"m"}"#, None),
            (r#"{"jsonrpc":"2.0","method":"m"}"#, None),
            (r#"{"id":7,"jsonrpc":"2.0","method":"m"}"#, None),
        ] {
            let beginning =
                beginning.map(|(id, method, rest): (_, &str, &str)| (id, method.as_bytes(), rest.as_bytes()));
            assert_eq!(begins_as_request(text.as_bytes()), beginning, "{text}");
        }
    }

    #[test]
    fn what_breaks_a_rule_ends_its_call() {
        for text in [
            r#"{"id":7,"result":1}"#,
            r#"{"jsonrpc":"1.0","id":7,"result":1}"#,
            r#"{"jsonrpc":2.0,"id":7,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"result":2}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","result":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":nonsense}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"#,
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap(), Kind::Broken(7), "{text}");
        }
        for text in [
            "",
            "{}",
            "null",
            "{",
            r#"{"jsonrpc":"1.0","id":"a","result":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m"}"#,
            r#"{"jsonrpc":"1.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"m","method":"n"}"#,
        ] {
            assert!(scan(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// Envelopes good and bad: members in any order, some twice, some odd.
    fn envelope() -> impl Strategy<Value = String> {
        let member = prop::sample::select(vec![
            r#""jsonrpc":"2.0""#,
            r#""jsonrpc":"2.0""#,
            r#""jsonrpc":"1.0""#,
            r#""id":7"#,
            r#""id":7"#,
            r#""id":"7""#,
            r#""id":null"#,
            r#""id":07"#,
            r#""result":1"#,
            r#""result":{"id":9,"error":[]}"#,
            r#""result":null"#,
            r#""result":"é\n""#,
            r#""result":bad"#,
            r#""error":null"#,
            r#""error":{"code":1,"message":"m"}"#,
            r#""method":"m""#,
            r#""params":[1]"#,
            r#""\u0069d":8"#,
            r#""other":1"#,
        ]);
        let blank = prop::sample::select(vec!["", "", "", " ", "\n\t", "\u{c}"]);
        let members = prop::collection::vec((blank.clone(), member), 0..6);
        (members, blank).prop_map(|(members, end)| {
            let members: Vec<_> = members
                .iter()
                .map(|(blank, member)| format!("{blank}{member}"))
                .collect();
            format!("{{{}{end}}}{end}", members.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn the_short_cut_says_what_the_parser_says(text in envelope()) {
            if let Some(kind) = scan_usual(text.as_bytes()) {
                prop_assert_eq!(scan_any(text.as_bytes()).ok(), Some(kind), "{}", text);
            }
        }

        /// Of an object that the parser takes: what it has no second of may stand anywhere.
        #[test]
        fn order_makes_no_difference(text in envelope(), seed in any::<u64>()) {
            let of = |text: &str| scan(text.as_bytes()).ok();
            if let Ok(members) = serde_json::from_str::<Members>(&text) {
                let mut members = members.0;
                let before = Members::write(&members);
                fastrand::Rng::with_seed(seed).shuffle(&mut members);
                prop_assert_eq!(of(&before), of(&Members::write(&members)), "{}", before);
            }
        }

        #[test]
        fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&text);
            let _ = super::super::Call::parse(&text);
        }
    }

    /// All members of an object, those of the same name too.
    struct Members(Vec<(String, Box<serde_json::value::RawValue>)>);

    impl Members {
        fn write(members: &[(String, Box<serde_json::value::RawValue>)]) -> String {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }

    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> serde::de::Visitor<'de> for All {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(All)
        }
    }
}
