use std::collections::VecDeque;

/// A map for keys that nearly always come in order, and leave nearly in order: a queue that is
/// searched.
///
/// What rises is appended, and what is oldest leaves at the front. What leaves from the middle
/// leaves a gap, and gaps are closed when they are more than half. So both cost the same in a large
/// map as in a small one. A key that comes out of order moves those after it.
#[derive(Debug)]
pub(crate) struct Sorted<K, V> {
    entries: VecDeque<(K, Option<V>)>,
    len: usize,
}

impl<K: Ord, V> Sorted<K, V> {
    /// So few gaps are never closed.
    const GAPS: usize = 32;

    pub(crate) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries[self.find(key).ok()?].1.as_ref()
    }

    /// False, and nothing has changed, if the key is there already.
    #[must_use]
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        if self.entries.back().is_none_or(|(last, _)| *last < key) {
            self.entries.push_back((key, Some(value)));
            self.len += 1;
            return true;
        }
        match self.find(&key) {
            Err(at) => self.entries.insert(at, (key, Some(value))),
            Ok(at) if self.entries[at].1.is_some() => return false,
            Ok(at) => self.entries[at].1 = Some(value),
        }
        self.len += 1;
        true
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_if(key, |_| true)
    }

    pub(crate) fn remove_if(&mut self, key: &K, goes: impl FnOnce(&V) -> bool) -> Option<V> {
        let at = self.find(key).ok()?;
        let removed = self.entries[at].1.take_if(|value| goes(value))?;
        self.len -= 1;
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.len + Self::GAPS {
            self.entries.retain(|(_, value)| value.is_some());
        }
        Some(removed)
    }

    /// In the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }

    /// Those up to and with this key.
    pub(crate) fn up_to(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        self.iter().take_while(move |(each, _)| *each <= key)
    }

    /// Where a key is, or belongs.
    fn find(&self, key: &K) -> Result<usize, usize> {
        // Nearly always it is the first.
        match self.entries.front() {
            Some((first, _)) if first == key => Ok(0),
            _ => self.entries.binary_search_by(|(each, _)| each.cmp(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0..3u8, 0..60u8), 0..300)) {
            let (mut sorted, mut map) = (Sorted::new(), BTreeMap::new());
            for (at, (op, key)) in ops.into_iter().enumerate() {
                match op {
                    0 => prop_assert_eq!(sorted.remove(&key), map.remove(&key)),
                    1 => {
                        prop_assert_eq!(sorted.insert(key, at), !map.contains_key(&key));
                        map.entry(key).or_insert(at);
                    }
                    _ => {
                        let goes = |value: &usize| value.is_multiple_of(2);
                        let gone = map.get(&key).copied().filter(goes).inspect(|_| {
                            map.remove(&key);
                        });
                        prop_assert_eq!(sorted.remove_if(&key, goes), gone);
                    }
                }
                prop_assert_eq!(sorted.get(&key), map.get(&key));
                prop_assert!(sorted.iter().eq(map.iter()));
                prop_assert!(sorted.up_to(&key).eq(map.range(..=key)));
                prop_assert_eq!(sorted.len(), map.len());
            }
        }
    }

    #[test]
    fn its_gaps_are_bounded() {
        let mut sorted = Sorted::new();
        // The first stays, the others come and go.
        assert!(sorted.insert(0, ()));
        for key in 1..10_000 {
            assert!(sorted.insert(key, ()));
            if key > 100 {
                sorted.remove(&(key - 100));
            }
        }
        assert_eq!(sorted.len(), 101);
        assert!(sorted.entries.len() <= 2 * 101 + Sorted::<i32, ()>::GAPS);
    }
}
