//! Payloads that can be told apart, so that a reply can be checked.

use bytes::Bytes;

use crate::BoxError;

/// How many there are: enough to notice a reply in the wrong place, few enough to stay in the
/// cache.
const COUNT: u64 = 16;
/// The first bytes of a payload, in which it differs from the others.
const TAG: usize = 8;

/// ASCII texts of one length, used in turn.
#[derive(Debug)]
pub(crate) struct Payloads {
    texts: Vec<String>,
    bytes: Vec<Bytes>,
}

impl Payloads {
    /// Payloads of `size` bytes, at least as long as their tags.
    pub(crate) fn new(size: usize) -> Self {
        let text = |nth| format!("{nth:0TAG$}{}", "x".repeat(size.saturating_sub(TAG)));
        let texts: Vec<String> = (0..COUNT).map(text).collect();
        let bytes = texts.iter().map(|text| Bytes::from(text.clone())).collect();
        Self { texts, bytes }
    }

    pub(crate) fn text(&self, nth: u64) -> &str {
        &self.texts[slot(nth)]
    }

    /// The same payload, shared and not copied.
    pub(crate) fn bytes(&self, nth: u64) -> Bytes {
        self.bytes[slot(nth)].clone()
    }

    /// Fails unless `reply` has the length and the tag of payload `nth`.
    pub(crate) fn check(&self, nth: u64, reply: &[u8]) -> Result<(), BoxError> {
        let sent = self.text(nth).as_bytes();
        if reply.len() == sent.len() && reply[..TAG] == sent[..TAG] {
            return Ok(());
        }
        Err(format!("a wrong reply of {} bytes to payload {nth}", reply.len()).into())
    }
}

fn slot(nth: u64) -> usize {
    (nth % COUNT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_payload_itself_passes() {
        let payloads = Payloads::new(64);
        assert_eq!(payloads.text(3).len(), 64);
        assert!(payloads.check(3, &payloads.bytes(3 + COUNT)).is_ok());
        assert!(payloads.check(3, &payloads.bytes(4)).is_err());
        assert!(payloads.check(3, &payloads.bytes(3)[1..]).is_err());
    }
}
