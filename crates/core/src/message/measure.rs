use bytes::Bytes;

/// What layers that count need to know of a message: its size and its kind.
///
/// Closures that return the size implement it. [`Length`] measures plain texts and bytes; a
/// transport brings the measure of its own messages.
pub trait Measure<M> {
    /// How many bytes of payload the message has. Framing is not counted.
    fn bytes(&self, message: &M) -> usize;

    /// What kind of message it is, for metric labels: one of a few fixed words.
    fn kind(&self, message: &M) -> &'static str {
        let _ = message;
        "message"
    }
}

impl<M, F: Fn(&M) -> usize> Measure<M> for F {
    fn bytes(&self, message: &M) -> usize {
        self(message)
    }
}

/// Measures texts and byte strings by their length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Length;

impl Measure<String> for Length {
    fn bytes(&self, message: &String) -> usize {
        message.len()
    }
}

impl Measure<Vec<u8>> for Length {
    fn bytes(&self, message: &Vec<u8>) -> usize {
        message.len()
    }
}

impl Measure<Bytes> for Length {
    fn bytes(&self, message: &Bytes) -> usize {
        message.len()
    }
}

/// For messages of which nothing is known: takes each for 512 KiB. So a bound in bytes is one in
/// number, and a small one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmeasured;

impl Unmeasured {
    /// What each message counts as: 512 KiB. 32 of these are 16 MiB, and not too many even if each
    /// is as large as a transport takes.
    pub const BYTES: usize = 512 * 1024;
}

impl<M> Measure<M> for Unmeasured {
    fn bytes(&self, _: &M) -> usize {
        Self::BYTES
    }
}
