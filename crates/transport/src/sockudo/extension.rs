//! The offer of permessage-deflate and the server's answer to it: [RFC 7692, section
//! 7](https://www.rfc-editor.org/rfc/rfc7692#section-7).

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
use tower_ws_core::{Failure, FailureKind};

const NAME: &str = "permessage-deflate";
const SERVER_FORGETS: &str = "server_no_context_takeover";
const CLIENT_FORGETS: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

/// What was agreed upon.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Agreed {
    /// Each message of the server's stands for itself.
    pub(super) server_forgets: bool,
    /// Each message of ours has to.
    pub(super) client_forgets: bool,
    /// How far our messages may refer back, as a power of two, from 8 to 15. `None`: as far as they like.
    pub(super) client_window: Option<u8>,
}

/// The server may say what window it has for us, as it may to browsers: some with little memory decline otherwise.
pub(super) fn offer(forget: bool) -> HeaderValue {
    HeaderValue::from_static(if forget {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    } else {
        "permessage-deflate; client_max_window_bits"
    })
}

/// What the server made of the offer; `None` if it declined.
pub(super) fn chosen(headers: &HeaderMap, forget: bool) -> Result<Option<Agreed>, Failure> {
    let mut chosen = None;
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let value = value.to_str().map_err(|_| wrong("is not text"))?;
        for element in value.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            if chosen.replace(accept(element, forget)?).is_some() {
                return Err(wrong("chooses twice"));
            }
        }
    }
    Ok(chosen)
}

fn accept(element: &str, forget: bool) -> Result<Agreed, Failure> {
    let mut parts = element.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        return Err(wrong("was not offered"));
    }
    let mut agreed = Agreed::default();
    let mut window = false;
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (parameter, None),
        };
        let twice = match (name, value) {
            (SERVER_FORGETS, None) => std::mem::replace(&mut agreed.server_forgets, true),
            (CLIENT_FORGETS, None) => std::mem::replace(&mut agreed.client_forgets, true),
            // A smaller window of the server's needs nothing here.
            (SERVER_WINDOW, Some(value)) if bits(value).is_some() => std::mem::replace(&mut window, true),
            (CLIENT_WINDOW, Some(value)) if bits(value).is_some() => {
                let before = agreed.client_window;
                agreed.client_window = bits(value);
                before.is_some()
            }
            _ => return Err(wrong("has a parameter that was not offered, or a wrong value")),
        };
        if twice {
            return Err(wrong("has a parameter twice"));
        }
    }
    if forget && !agreed.server_forgets {
        return Err(wrong("lacks `server_no_context_takeover`, which was asked for"));
    }
    agreed.client_forgets |= forget;
    Ok(agreed)
}

/// A window is 2^8 to 2^15 bytes, written without zeros before it.
fn bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits| value == bits.to_string())
}

/// A value may be a quoted token (RFC 6455, section 9.1).
fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.unwrap_or(value)
}

fn wrong(what: &str) -> Failure {
    Failure::new(
        FailureKind::Handshake,
        format!("the extension that the server chose {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(values: &[&'static str], forget: bool) -> Result<Option<Agreed>, Failure> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(value));
        }
        chosen(&headers, forget)
    }

    #[test]
    fn answers_to_what_was_offered() {
        let agreed = |server_forgets, client_forgets| {
            Some(Agreed {
                server_forgets,
                client_forgets,
                client_window: None,
            })
        };
        for (answer, forget, means) in [
            (&[][..], false, None),
            (&["  "], true, None),
            (&["permessage-deflate"], false, agreed(false, false)),
            (
                &["Permessage-Deflate ; server_max_window_bits = 10"],
                false,
                agreed(false, false),
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"15\""],
                false,
                agreed(false, false),
            ),
            // The server may limit itself, and ask us to forget, unasked (sections 7.1.1.2 and 7.1.2.1).
            (
                &["permessage-deflate; client_no_context_takeover"],
                false,
                agreed(false, true),
            ),
            (
                &["permessage-deflate;server_no_context_takeover"],
                false,
                agreed(true, false),
            ),
            (
                &["permessage-deflate;server_no_context_takeover"],
                true,
                agreed(true, true),
            ),
        ] {
            assert_eq!(answered(answer, forget).unwrap(), means, "{answer:?}");
        }
    }

    #[test]
    fn a_window_of_ours_that_is_smaller() {
        for (answer, bits) in [
            ("permessage-deflate; client_max_window_bits=8", 8),
            (
                "permessage-deflate; client_max_window_bits=\"15\"; server_max_window_bits=9",
                15,
            ),
        ] {
            let agreed = answered(&[answer], false).unwrap().unwrap();
            assert_eq!(agreed.client_window, Some(bits), "{answer}");
        }
    }

    #[test]
    fn answers_that_nobody_asked_for() {
        for answer in [
            &["x-webkit-deflate-frame"][..],
            &["permessage-deflate, permessage-deflate"],
            &["permessage-deflate", "permessage-deflate"],
            &["permessage-deflate; client_max_window_bits"],
            &["permessage-deflate; client_max_window_bits=7"],
            &["permessage-deflate; client_max_window_bits=10; client_max_window_bits=10"],
            &["permessage-deflate; server_max_window_bits"],
            &["permessage-deflate; server_max_window_bits=7"],
            &["permessage-deflate; server_max_window_bits=16"],
            &["permessage-deflate; server_max_window_bits=010"],
            &["permessage-deflate; server_max_window_bits=\"10"],
            &["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"],
            &["permessage-deflate; server_no_context_takeover=true"],
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            &["permessage-deflate; unknown"],
            &["permessage-deflate;"],
        ] {
            let failure = answered(answer, false).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Handshake, "{answer:?}");
        }
        assert!(answered(&["permessage-deflate"], true).is_err());
    }
}
