//! Where a JSON value ends: checked in full ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)), and
//! built of nothing.

use memchr::memchr2;

/// Deeper values are left to the parser.
const DEPTH: u32 = 64;

/// Without the blanks at its beginning.
pub(super) fn blank(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}

/// What comes after the value that the text begins with. `None`: there is none, or one that is too
/// deep. Whether its strings are UTF-8 is not looked at.
pub(super) fn value(mut text: &[u8]) -> Option<&[u8]> {
    // For each open bracket, the innermost last, whether it is an object's.
    let (mut depth, mut objects) = (0, 0u64);
    loop {
        let (&first, rest) = text.split_first()?;
        let opened = match first {
            b'{' | b'[' => {
                let is_object = first == b'{';
                let rest = blank(rest);
                if let Some(rest) = closed(rest, is_object) {
                    text = rest;
                    false
                } else if depth == DEPTH {
                    return None;
                } else {
                    (depth, objects) = (depth + 1, objects << 1 | u64::from(is_object));
                    text = if is_object { key(rest)? } else { rest };
                    true
                }
            }
            b'"' => {
                text = string(rest)?;
                false
            }
            b't' => {
                text = rest.strip_prefix(b"rue")?;
                false
            }
            b'f' => {
                text = rest.strip_prefix(b"alse")?;
                false
            }
            b'n' => {
                text = rest.strip_prefix(b"ull")?;
                false
            }
            _ => {
                text = number(text)?;
                false
            }
        };
        if opened {
            continue;
        }
        // A value has ended, and what it ends with it.
        loop {
            if depth == 0 {
                return Some(text);
            }
            let is_object = objects & 1 == 1;
            let rest = blank(text);
            if let Some(rest) = rest.strip_prefix(b",") {
                let rest = blank(rest);
                text = if is_object { key(rest)? } else { rest };
                break;
            }
            text = closed(rest, is_object)?;
            (depth, objects) = (depth - 1, objects >> 1);
        }
    }
}

fn closed(text: &[u8], is_object: bool) -> Option<&[u8]> {
    text.strip_prefix(if is_object { b"}" } else { b"]" })
}

/// After a member's name and its colon.
fn key(text: &[u8]) -> Option<&[u8]> {
    let rest = string(text.strip_prefix(b"\"")?)?;
    Some(blank(blank(rest).strip_prefix(b":")?))
}

/// After a string whose first quote has been read.
fn string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = plain(text);
        match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => text = rest,
            [b'\\', b'u', a, b, c, d, rest @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => text = rest,
            _ => return None,
        }
    }
}

/// From the first byte on that is a quote, a backslash or a control character.
fn plain(text: &[u8]) -> &[u8] {
    let end = memchr2(b'"', b'\\', text).unwrap_or(text.len());
    let plain = &text[..end];
    // The smallest of them, and not the first that is too small: the compiler makes vector code of it.
    let least = plain.iter().fold(u8::MAX, |least, &byte| least.min(byte));
    let control = match least < b' ' {
        true => plain.iter().position(|&byte| byte < b' '),
        false => None,
    };
    &text[control.unwrap_or(end)..]
}

fn number(text: &[u8]) -> Option<&[u8]> {
    let digits = |text| {
        let mut rest: &[u8] = text;
        while let [b'0'..=b'9', after @ ..] = rest {
            rest = after;
        }
        (rest.len() < <[u8]>::len(text)).then_some(rest)
    };
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut text = match text {
        [b'0', rest @ ..] => rest,
        _ => digits(text)?,
    };
    if let [b'.', rest @ ..] = text {
        text = digits(rest)?;
    }
    if let [b'e' | b'E', rest @ ..] = text {
        let rest = match rest {
            [b'+' | b'-', rest @ ..] => rest,
            _ => rest,
        };
        text = digits(rest)?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// How far the parser reads one value, if it is one.
    fn parsed(text: &[u8]) -> Option<usize> {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) => Some(value.get().len()),
            _ => None,
        }
    }

    fn skipped(text: &[u8]) -> Option<usize> {
        // A number ends where the next thing begins; the parser of a stream wants a blank there.
        value(text).map(|rest| text.len() - rest.len())
    }

    #[test]
    fn every_sort_of_value() {
        for text in [
            "0",
            "-1.5e+10",
            "7E3",
            "true",
            "false",
            "null",
            r#""""#,
            r#""\u00e9\n\"""#,
            r#""é, and more than eight""#,
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[1,[2,{\"a\":[]}]]",
            r#"{"a":{"b":[1 , 2]},"c":null}"#,
        ] {
            assert_eq!(skipped(text.as_bytes()), Some(text.len()), "{text}");
            assert_eq!(parsed(text.as_bytes()), Some(text.len()), "{text}");
        }
        for text in [
            "",
            "-",
            "01x",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "[",
            "{",
            "}",
            "]",
            "[}",
            "nonsense",
            "\u{c}1",
        ] {
            let is_it = skipped(text.as_bytes()).is_some_and(|end| end == text.len());
            assert!(!is_it, "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(value(deep(65).as_bytes()).is_some());
        assert!(value(deep(66).as_bytes()).is_none());
    }

    fn odd_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"a\"",
            "\"\\u0041\"",
            "\"long enough for eight\"",
            "0",
            "1",
            "-",
            ".",
            "e",
            "true",
            "null",
            " ",
            "\t",
            "\n",
            "\u{c}",
            "é",
            "\u{1}",
            "\"k\":",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn it_accepts_what_the_parser_accepts(text in odd_json()) {
            let whole = serde_json::from_str::<&RawValue>(&text).is_ok();
            let skipped = value(blank(text.as_bytes())).is_some_and(|rest| blank(rest).is_empty());
            prop_assert_eq!(skipped, whole, "{}", text);
        }

        #[test]
        fn plain_text_ends_where_it_does(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let end = text.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            prop_assert_eq!(plain(&text).len(), text.len() - end.unwrap_or(text.len()));
        }
    }
}
