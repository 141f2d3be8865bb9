//! Several messages in one, as [section 6](https://www.jsonrpc.org/specification#batch) of the
//! specification has it. They are read, and never written.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Malformed, scan::without_mark};

/// How many messages a batch may have: 1,024.
pub const BATCH_LIMIT: usize = 1024;

/// The messages of a text that [`scan`](super::scan) found to be a
/// [`Kind::Batch`](super::Kind::Batch), in order; each is to be scanned by itself.
///
/// # Errors
///
/// [`Malformed`] if it is no JSON, empty, or has more than [`BATCH_LIMIT`] messages.
pub fn parse_batch(text: &[u8]) -> Result<Vec<&RawValue>, Malformed> {
    let Batch(messages) = serde_json::from_slice(without_mark(text))?;
    match messages.len() {
        0 => Err(Malformed::Shape),
        1..=BATCH_LIMIT => Ok(messages),
        _ => Err(Malformed::LargeBatch),
    }
}

struct Batch<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Messages;

        impl<'de> Visitor<'de> for Messages {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<Batch<'de>, A::Error> {
                let mut batch = Vec::new();
                while let Some(message) = messages.next_element()? {
                    // What is too much is counted, and not kept.
                    batch.truncate(BATCH_LIMIT);
                    batch.push(message);
                }
                Ok(Batch(batch))
            }
        }

        deserializer.deserialize_seq(Messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_and_not_empty() {
        let batch = |messages: usize| format!("\u{feff} [{}]", vec!["{}"; messages].join(", "));
        for (messages, is_one) in [(0, false), (1, true), (BATCH_LIMIT, true), (BATCH_LIMIT + 1, false)] {
            let text = batch(messages);
            let read = parse_batch(text.as_bytes()).map(|batch| batch.len());
            assert_eq!(read.ok(), is_one.then_some(messages), "{messages}");
        }
        assert!(parse_batch(b"[{},").is_err());
    }
}
