use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Where request ids come from: 1, 2, 3 …, never reused, below 2^53 so that every JSON parser keeps them exact.
///
/// Clones share the counter. A session has one: what speaks on a connection beside the client (an exchange, a probe)
/// takes its ids from the same place, and leaves a clone in [`Up`](crate::Up)'s extensions.
#[derive(Clone, Debug)]
pub struct Ids(Arc<AtomicU64>);

impl Ids {
    /// A counter that begins at 1.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1)))
    }

    /// The next id. It takes 285 years at a million a second to pass 2^53.
    pub fn next_id(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The id that comes next, which nobody has yet.
    pub fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Leaves out what is below `first`: somebody else has used it.
    pub fn skip_to(&self, first: u64) {
        self.0.fetch_max(first, Ordering::Relaxed);
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_only_rise() {
        let ids = Ids::new();
        assert_eq!((ids.next_id(), ids.peek()), (1, 2));
        ids.skip_to(7);
        ids.skip_to(3);
        assert_eq!((ids.next_id(), ids.clone().next_id(), ids.peek()), (7, 8, 9));
    }
}
