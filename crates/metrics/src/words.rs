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
