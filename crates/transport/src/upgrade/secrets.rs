//! What a handshake sends that must not be shown, should the peer repeat it. No I/O.

use std::{fmt, sync::Arc};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

/// Whatever may be a secret of a handshake: the values of the caller's headers, subprotocols, the
/// path and the query, in each form in which a server may repeat them. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<[String]>);

/// Those found so far.
#[derive(Default)]
struct Found(Vec<String>);

/// Shorter than this it is a word.
const SHORTEST: usize = 6;

/// A part of a path that is as long as this may be a token; others are names.
const TOKEN: usize = 16;

/// Names of authentication schemes, as long as a secret: a challenge has them, too.
const SCHEMES: [&str; 3] = ["bearer", "digest", "negotiate"];

/// What stands in the place of a secret.
const CUT: &str = "[cut]";

impl Secrets {
    /// Those of a request: the caller's headers, without the handshake's own.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, subprotocols: &[String]) -> Self {
        let mut found = Found::default();
        for value in headers.values() {
            found.add_parts(&String::from_utf8_lossy(value.as_bytes()), &[' ', ',', ';', '=', '"']);
        }
        for name in subprotocols {
            found.add_parts(name, &['.']);
        }
        found.add(uri.path());
        for segment in uri.path().split('/').filter(|segment| segment.len() >= TOKEN) {
            found.add(segment);
        }
        if let Some(query) = uri.query() {
            found.add_parts(query, &['&', '=']);
        }
        // The longest first: one may hold another.
        found.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        found.0.dedup();
        Self(found.0.into())
    }

    /// The text without them. `is_whole`: the text did not go on; otherwise its end may be the
    /// beginning of one.
    pub(crate) fn cut(&self, text: &str, is_whole: bool) -> String {
        let mut text = text.to_owned();
        for secret in &*self.0 {
            if text.contains(secret) {
                text = text.replace(secret, CUT);
            }
        }
        if !is_whole {
            let begun = |secret: &String| {
                let ends = secret.char_indices().map(|(end, _)| &secret[..end]).rev();
                ends.take_while(|begun| begun.len() >= SHORTEST)
                    .find(|begun| text.ends_with(begun))
                    .map(str::len)
            };
            if let Some(begun) = self.0.iter().filter_map(begun).max() {
                text.truncate(text.len() - begun);
                text.push_str(CUT);
            }
        }
        text
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Found {
    /// The whole, and what it is made of.
    fn add_parts(&mut self, text: &str, separators: &[char]) {
        self.add(text);
        // What ends with `=` may be base64.
        for part in text.split(separators).chain(text.split([' ', ',', ';'])) {
            self.add(part.trim());
        }
    }

    fn add(&mut self, text: &str) {
        self.add_form(text);
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        if decoded != text {
            self.add_form(&decoded);
        }
        for alphabet in [&STANDARD, &URL_SAFE] {
            let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let decoded = GeneralPurpose::new(alphabet, config).decode(text);
            let Some(decoded) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
                continue;
            };
            self.add_form(&decoded);
            // User and password of Basic: RFC 7617.
            if let Some((user, password)) = decoded.split_once(':') {
                self.add_form(user);
                self.add_form(password);
            }
        }
    }

    fn add_form(&mut self, text: &str) {
        let is_scheme = SCHEMES.iter().any(|name| name.eq_ignore_ascii_case(text));
        if text.len() >= SHORTEST && !is_scheme {
            self.0.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn secrets() -> Secrets {
        let uri = "https://a/room/0123456789abcdef?token=qu%2Fery-secret&page=2"
            .parse()
            .unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic YWxhZGRpbjpvcGVuc2VzYW1l"),
            ("cookie", "sid=cookie-secret; theme=dark"),
            ("x-key", "s3cr3t-key"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Secrets::of(&uri, &headers, &["mcp".into(), "bearer.subprotocol-secret".into()])
    }

    #[test]
    fn whatever_was_sent_is_cut_out_in_each_form() {
        let secrets = secrets();
        for said in [
            "YWxhZGRpbjpvcGVuc2VzYW1l",
            "aladdin:opensesame",
            "aladdin",
            "opensesame",
            "cookie-secret",
            "s3cr3t-key",
            "subprotocol-secret",
            "qu%2Fery-secret",
            "qu/ery-secret",
            "0123456789abcdef",
            "/room/0123456789abcdef",
        ] {
            let cut = secrets.cut(&format!("no <{said}> here, {said}"), true);
            assert_eq!(cut, "no <[cut]> here, [cut]", "{said}");
        }
    }

    #[test]
    fn words_stay() {
        let text = "404 page not found: mcp speaks no dark basic room";
        assert_eq!(secrets().cut(text, true), text);
    }

    #[test]
    fn one_that_the_end_cuts_off_is_cut_out() {
        assert_eq!(secrets().cut("you sent s3cr3t-k", false), "you sent [cut]");
        assert_eq!(secrets().cut("you sent s3cr3t-key", false), "you sent [cut]");
        assert_eq!(secrets().cut("you sent s3c", false), "you sent s3c");
    }
}
