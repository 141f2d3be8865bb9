//! The fixed words that labels have as values.

use tower_ws_core::{Close, FailureKind};

use crate::register::OTHER;

/// Why connections, dials and sessions end.
pub(crate) fn causes() -> impl Iterator<Item = &'static str> {
    FailureKind::ALL.into_iter().map(FailureKind::as_str)
}

/// The close codes that are
/// [registered](https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number).
const REGISTERED: [(u16, &str); 18] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1005, "1005"),
    (1006, "1006"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1010, "1010"),
    (1011, "1011"),
    (1012, "1012"),
    (1013, "1013"),
    (1014, "1014"),
    (1015, "1015"),
    (3000, "3000"),
    (3003, "3003"),
    (3008, "3008"),
];

/// The classes of the codes that frameworks and applications choose.
const CLASSES: [&str; 2] = ["3xxx", "4xxx"];

/// What servers and the proxies before them answer instead of 101.
const STATUSES: [(u16, &str); 22] = [
    (200, "200"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (407, "407"),
    (408, "408"),
    (410, "410"),
    (421, "421"),
    (425, "425"),
    (426, "426"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

/// With which statuses dials are refused.
pub(crate) fn statuses() -> impl Iterator<Item = &'static str> {
    STATUSES.into_iter().map(|(_, word)| word)
}

/// The word for a status. A server may answer any number; it makes up no label.
pub(crate) fn status(status: u16) -> &'static str {
    STATUSES
        .iter()
        .find(|(known, _)| *known == status)
        .map_or(OTHER, |(_, word)| word)
}

/// With which codes peers close.
pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    REGISTERED.into_iter().map(|(_, word)| word).chain(CLASSES)
}

/// The word for a close code. A peer may send any number; it makes up no label.
pub(crate) fn code(close: &Close) -> &'static str {
    let registered = REGISTERED.iter().find(|(code, _)| *code == close.code);
    match (registered, close.code) {
        (Some((_, word)), _) => word,
        (None, 3000..4000) => CLASSES[0],
        (None, 4000..5000) => CLASSES[1],
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_not_known_is_other() {
        assert_eq!([404, 418, 0].map(status), ["404", OTHER, OTHER]);
        assert!(statuses().all(|word| status(word.parse().unwrap()) == word));
    }

    #[test]
    fn a_code_that_is_not_registered_is_one_of_a_class() {
        let word = |code| {
            super::code(&Close {
                code,
                reason: String::new(),
            })
        };
        let codes: Vec<_> = codes().collect();
        for code in 0..=u16::MAX {
            let word = word(code);
            assert!(word == OTHER || codes.contains(&word), "{code}: {word}");
            assert!(
                word.parse().map_or(true, |number: u16| number == code),
                "{code}: {word}"
            );
        }
        assert_eq!(
            [1000, 3008, 3001, 4401, 1004, 999, 5000].map(word),
            ["1000", "3008", "3xxx", "4xxx", OTHER, OTHER, OTHER]
        );
    }
}
