use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower_ws_core::{Disposition, Excerpt, Failure, FailureKind};

use super::secrets::Secrets;

/// How a server's choice of a subprotocol is judged
/// ([RFC 6455, section 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)). This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Subprotocols {
    /// Where some were offered, the answer must be one of them; where none was, there must be none.
    /// Anything else fails the dial for good: two peers that do not speak the same language
    /// understand each other wrongly.
    #[default]
    Strict,
    /// Any answer will do, also none. Servers exist that answer with one that was not offered, or
    /// forget to answer. What they said is in [`Handshake`](crate::Handshake).
    Lenient,
}

/// What the answer to a handshake has to say.
pub(super) struct Expected {
    accept: String,
    offered: Vec<String>,
    mode: Subprotocols,
    extensions: bool,
}

impl Expected {
    /// With `extensions` some were offered, and whoever offered them judges the choice.
    pub(super) fn new(key: &str, offered: Vec<String>, mode: Subprotocols, extensions: bool) -> Self {
        Self {
            accept: derive_accept_key(key.as_bytes()),
            offered,
            mode,
            extensions,
        }
    }

    /// Checks an answer with status 101. What it repeats of the secrets is not shown.
    pub(super) fn check(&self, version: Version, headers: &HeaderMap, secrets: &Secrets) -> Result<(), Failure> {
        if version != Version::HTTP_11 {
            return Err(wrong("the server agreed to the upgrade, but not in http/1.1"));
        }
        if !tokens(headers, UPGRADE).eq(["websocket"]) {
            return Err(wrong(
                "the server's answer has no `upgrade: websocket`: there may be a proxy in between",
            ));
        }
        if !tokens(headers, CONNECTION).any(|token| token == "upgrade") {
            return Err(wrong(
                "the server's answer has no `connection: upgrade`: there may be a proxy in between",
            ));
        }
        match only(headers, SEC_WEBSOCKET_ACCEPT) {
            Err(()) => {
                return Err(wrong("the server's answer has more than one `sec-websocket-accept`"));
            }
            Ok(None) => return Err(wrong("the server's answer has no `sec-websocket-accept`")),
            Ok(Some(accept)) if accept != self.accept.as_bytes() => {
                return Err(wrong("the server's `sec-websocket-accept` answers another request"));
            }
            Ok(Some(_)) => {}
        }
        if !self.extensions && tokens(headers, SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
            return Err(wrong("the server chose an extension that was not offered"));
        }
        self.check_subprotocol(headers, secrets)
    }

    fn check_subprotocol(&self, headers: &HeaderMap, secrets: &Secrets) -> Result<(), Failure> {
        if let Subprotocols::Lenient = self.mode {
            return Ok(());
        }
        let problem = match only(headers, SEC_WEBSOCKET_PROTOCOL) {
            Err(()) => "the server chose more than one subprotocol".to_owned(),
            Ok(None) if self.offered.is_empty() => return Ok(()),
            Ok(None) => {
                "the server chose none of the subprotocols offered: offer one that it speaks, or be lenient".to_owned()
            }
            Ok(Some(chosen)) if self.offered.iter().any(|name| name.as_bytes() == chosen) => return Ok(()),
            Ok(Some(chosen)) => format!(
                "the server chose the subprotocol {}, which was not offered",
                Excerpt::new(&secrets.cut(&String::from_utf8_lossy(chosen), true))
            ),
        };
        Err(wrong(problem).with_disposition(Disposition::Final))
    }
}

/// The elements of a header that is a list, in lower case. What is not ASCII is one, too: it is there.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .filter(|token| !token.is_empty())
}

/// The value of a header that may be there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, ()> {
    let mut values = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(<[u8]>::trim_ascii)),
        _ => Err(()),
    }
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::Handshake, message)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    /// The example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn check(offered: &[&str], mode: Subprotocols, more: &[(&'static str, &str)]) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(ACCEPT));
        for (name, value) in more {
            match *value {
                "" => drop(headers.remove(*name)),
                value => drop(headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap())),
            }
        }
        let offered = offered.iter().map(ToString::to_string).collect();
        let secrets = Secrets::of(
            &Uri::from_static("ws://a/"),
            &HeaderMap::new(),
            &["bearer.t0ken".into()],
        );
        Expected::new(KEY, offered, mode, false).check(Version::HTTP_11, &headers, &secrets)
    }

    #[test]
    fn a_right_answer_passes() {
        check(&[], Subprotocols::Strict, &[]).unwrap();
    }

    #[test]
    fn wrong_answers_do_not() {
        for wrong in [
            ("upgrade", ""),
            ("upgrade", "h2c"),
            ("connection", ""),
            ("sec-websocket-accept", ""),
            ("sec-websocket-accept", ACCEPT),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-extensions", "permessage-deflate; x=\"\u{e9}\""),
            ("sec-websocket-extensions", "\u{e9}"),
            ("upgrade", "\u{e9}"),
        ] {
            let failure = check(&[], Subprotocols::Lenient, &[wrong]).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Handshake, "{wrong:?}");
            assert_eq!(failure.disposition(), Disposition::Backoff, "{wrong:?}");
        }
    }

    #[test]
    fn subprotocols() {
        const NAME: &str = "sec-websocket-protocol";
        for (offered, answered, fine) in [
            (&["a", "b"][..], &["b"][..], true),
            (&["a"], &[], false),
            (&["a"], &["A"], false),
            (&["a"], &["a", "a"], false),
            (&[], &["a"], false),
            (&[], &[], true),
        ] {
            let headers: Vec<_> = answered.iter().map(|name| (NAME, *name)).collect();
            let strict = check(offered, Subprotocols::Strict, &headers);
            assert_eq!(strict.is_ok(), fine, "{offered:?} {answered:?}");
            if let Err(failure) = strict {
                assert_eq!(failure.disposition(), Disposition::Final);
            }
            check(offered, Subprotocols::Lenient, &headers).unwrap();
        }
    }

    #[test]
    fn a_token_that_the_answer_repeats_is_not_shown() {
        for answered in ["mcp, bearer.t0ken", "bearer.t0ken-and-more", "bearer.t0ken"] {
            let headers = [("sec-websocket-protocol", answered)];
            let failure = check(&["mcp"], Subprotocols::Strict, &headers).unwrap_err();
            let shown = format!("{failure} {failure:?}");
            assert!(shown.contains("[cut]") && !shown.contains("t0ken"), "{shown}");
        }
    }
}
