use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Where request ids come from: one after the other, never reused, below 2^53 so that every JSON
/// parser keeps them exact.
///
/// Clones share the counter. A session has one: what speaks on a connection beside the client (an
/// opening, a probe) takes its ids from the same place, and leaves a clone in [`Up`](crate::Up)'s
/// extensions.
#[derive(Clone, Debug)]
pub struct Ids(Arc<AtomicU64>);

impl Ids {
    /// A counter that begins at 1.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1)))
    }

    /// A counter that begins at a random place below 2^52, for a peer that is shared: a gateway may
    /// tell every client of everybody's answers, and two clients that both began at 1 would take
    /// each other's for their own.
    pub fn random() -> Self {
        // Ids must be had even where the system has no entropy to give; then they are as good as
        // those from 1.
        let start = getrandom::u64().map_or(1, |random| (random >> 12).max(1));
        Self(Arc::new(AtomicU64::new(start)))
    }

    /// The next id. It takes 142 years at a million a second to pass 2^53, wherever the counter
    /// began.
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
    fn two_clients_begin_at_different_places() {
        let (one, other) = (Ids::random(), Ids::random());
        let first = one.next_id();
        assert!(first < 1 << 52 && first != other.next_id());
        assert_eq!(one.clone().next_id(), first + 1);
    }

    #[test]
    fn they_only_rise() {
        let ids = Ids::new();
        assert_eq!((ids.next_id(), ids.peek()), (1, 2));
        ids.skip_to(7);
        ids.skip_to(3);
        assert_eq!((ids.next_id(), ids.clone().next_id(), ids.peek()), (7, 8, 9));
    }
}
