use std::collections::BTreeMap;

use slab::Slab;

/// Values in the order of their numbers. The values lie apart from the order, since they are large and the order is a
/// tree, which moves what it holds.
#[derive(Debug)]
pub(crate) struct Line<T> {
    order: BTreeMap<u64, usize>,
    values: Slab<T>,
}

impl<T> Line<T> {
    pub(crate) fn new() -> Self {
        Self {
            order: BTreeMap::new(),
            values: Slab::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Numbers are given once.
    pub(crate) fn insert(&mut self, number: u64, value: T) {
        self.order.insert(number, self.values.insert(value));
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.values.get(*self.order.get(&number)?)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.values.get_mut(*self.order.get(&number)?)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.order.remove(&number)?;
        self.values.try_remove(place)
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.order.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.order
            .iter()
            .filter_map(|(&number, &place)| Some((number, self.values.get(place)?)))
    }
}
