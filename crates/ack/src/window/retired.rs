use std::collections::{BTreeSet, VecDeque};

use crate::layer::AckLayer;

/// The keys of what was given up last: an acknowledgement that comes late is not taken for
/// another's.
#[derive(Debug)]
pub(super) struct Retired<K> {
    order: VecDeque<K>,
    keys: BTreeSet<K>,
}

impl<K: Clone + Ord> Retired<K> {
    /// As many as a window has by default: all of it may be given up at once.
    const ROOM: usize = AckLayer::<()>::MESSAGES;

    pub(super) fn new() -> Self {
        Self {
            order: VecDeque::new(),
            keys: BTreeSet::new(),
        }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn insert(&mut self, key: K) {
        if !self.keys.insert(key.clone()) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > Self::ROOM
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut retired = Retired::new();
        (0..10_000).for_each(|key| retired.insert(key));
        assert_eq!(
            (retired.order.len(), retired.keys.len()),
            (Retired::<u32>::ROOM, Retired::<u32>::ROOM)
        );
        assert!(retired.contains(&9_999) && !retired.contains(&0));
    }
}
