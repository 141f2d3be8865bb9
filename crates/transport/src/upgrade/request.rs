use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    uri::PathAndQuery,
};
use http_body_util::Empty;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tower_ws_connector::WsUrl;
use tower_ws_core::{Failure, FailureKind};

use super::secrets::Secrets;

/// A handshake that is ready to be sent.
pub(super) struct Prepared {
    /// What the connector sees.
    pub(super) dial: Uri,
    /// Scheme, host and port, for error texts: never the path, the query or credentials.
    pub(super) target: String,
    pub(super) key: String,
    pub(super) offered: Vec<String>,
    /// Extensions are offered.
    pub(super) extends: bool,
    pub(super) request: Request<Empty<Bytes>>,
    /// What the answer may repeat and nobody may show.
    pub(super) secrets: Secrets,
}

/// What only the handshake itself may set.
const OWN: [HeaderName; 9] = [
    HOST,
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
];

/// Makes a handshake of the caller's request, or says what is wrong with it.
pub(super) fn prepare(
    request: Request<()>,
    host: Option<&str>,
    subprotocols: &[String],
    extensions: Option<HeaderValue>,
) -> Result<Prepared, Failure> {
    let (mut head, ()) = request.into_parts();
    if head.method != Method::GET {
        return Err(invalid(
            "a websocket handshake is a GET request: leave the method as it is",
        ));
    }
    if let Some(own) = OWN.iter().find(|own| head.headers.contains_key(*own)) {
        return Err(invalid(format!(
            "the header `{own}` belongs to the handshake: leave it out"
        )));
    }
    let url = WsUrl::try_from(head.uri)?;
    let offered = offered(subprotocols, &head.headers)?;
    head.headers.remove(SEC_WEBSOCKET_PROTOCOL);
    let secrets = Secrets::of(url.uri(), &head.headers, &offered);

    let mut request = Request::new(Empty::new());
    // Origin form: `/path?query`.
    let path = url.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    *request.version_mut() = Version::HTTP_11;
    // The generator is a secure one that the system seeds.
    let key = generate_key();
    let headers = request.headers_mut();
    let host = match host {
        Some(host) => HeaderValue::from_str(host).map_err(|_| invalid("the host set for the handshake is none"))?,
        None => value(&url.authority())?,
    };
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, value(&key)?);
    if !offered.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value(&offered.join(", "))?);
    }
    let extends = extensions.is_some();
    headers.extend(extensions.map(|offer| (SEC_WEBSOCKET_EXTENSIONS, offer)));
    headers.extend(head.headers);
    Ok(Prepared {
        dial: url.dial()?,
        target: url.redacted().to_string(),
        key,
        offered,
        extends,
        request,
        secrets,
    })
}

/// The layer's subprotocols, then the request's. Their names may be secrets (a token): errors do
/// not show them.
fn offered(subprotocols: &[String], headers: &HeaderMap) -> Result<Vec<String>, Failure> {
    let mut offered = subprotocols.to_vec();
    for more in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let more = more.to_str().map_err(|_| bad_subprotocol())?;
        offered.extend(more.split(',').map(|name| name.trim().to_owned()));
    }
    for (at, name) in offered.iter().enumerate() {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(bad_subprotocol());
        }
        if offered[..at].contains(name) {
            return Err(invalid("a subprotocol is offered twice: each name may be there once"));
        }
    }
    Ok(offered)
}

/// [RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| invalid("the url is not valid"))
}

fn bad_subprotocol() -> Failure {
    invalid("a subprotocol's name must be letters, digits and -._~ and the like, without spaces or commas")
}

/// A mistake on this side stays one.
fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use tower_ws_core::Disposition;

    use super::*;

    fn request(url: &str) -> Request<()> {
        Request::get(url).body(()).unwrap()
    }

    fn refused(request: Request<()>) -> String {
        let failure = prepare(request, None, &[], None).err().unwrap();
        assert_eq!(failure.disposition(), Disposition::Final);
        failure.to_string()
    }

    #[test]
    fn the_handshake_is_complete() {
        let mut request = request("ws://example.com:8080/chat?room=1");
        request.headers_mut().insert("x-mine", HeaderValue::from_static("yes"));
        for more in ["token.abc, b", "c"] {
            request
                .headers_mut()
                .append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(more));
        }
        let prepared = prepare(request, None, &["mcp".into()], None).unwrap();
        assert_eq!(prepared.dial, "http://example.com:8080/chat?room=1");
        assert_eq!(prepared.target, "ws://example.com:8080");
        assert_eq!(prepared.offered, ["mcp", "token.abc", "b", "c"]);
        let headers = prepared.request.headers();
        assert_eq!(prepared.request.uri(), "/chat?room=1");
        assert_eq!(headers[HOST], "example.com:8080");
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "mcp, token.abc, b, c");
        assert_eq!(headers[SEC_WEBSOCKET_KEY], prepared.key);
        assert_eq!(headers[SEC_WEBSOCKET_VERSION], "13");
        assert_eq!(headers["x-mine"], "yes");
    }

    #[test]
    fn hosts_and_ports() {
        for (url, dial, host) in [
            ("ws://a", "http://a/", "a"),
            ("wss://a:443/x", "https://a:443/x", "a"),
            ("wss://a:80?q", "https://a:80/?q", "a:80"),
            ("ws://[::1]:9/", "http://[::1]:9/", "[::1]:9"),
            ("ws://a/#fragment", "http://a/", "a"),
        ] {
            let prepared = prepare(request(url), None, &[], None).unwrap();
            assert_eq!(prepared.dial, dial, "{url}");
            assert_eq!(prepared.request.headers()[HOST], host, "{url}");
            assert!(prepared.request.uri().to_string().starts_with('/'), "{url}");
        }
    }

    #[test]
    fn errors_say_what_to_do_and_no_secret() {
        for (url, says) in [
            ("http://a/", "write `ws`"),
            ("https://a/", "write `wss`"),
            ("ftp://a/", "`ws` or `wss`"),
            ("/path", "begin it with"),
            ("ws://:80/", "has no host"),
            ("ws://user:secret@a/", "`authorization` header"),
            ("ws://a:99999/?secret", "port"),
        ] {
            let text = refused(request(url));
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let post = Request::post("ws://a/").body(()).unwrap();
        assert!(refused(post).contains("GET"));
    }

    #[test]
    fn the_handshakes_own_headers_stay_its_own() {
        for own in OWN {
            let mut request = request("ws://a/");
            request.headers_mut().insert(&own, HeaderValue::from_static("secret"));
            let text = refused(request);
            assert!(text.contains(own.as_str()) && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn subprotocols_are_tokens_and_unique() {
        for bad in [&["a b"][..], &[""], &["a,b"], &["a\r\nb"], &["a", "a"], &["é"]] {
            let names: Vec<_> = bad.iter().map(ToString::to_string).collect();
            assert!(prepare(request("ws://a/"), None, &names, None).is_err(), "{bad:?}");
        }
    }
}
