use crate::sorted::Sorted;

/// A map from numbers that rise to values that stay where they are put: to move a large one costs
/// more than to find it.
#[derive(Debug)]
pub(crate) struct Placed<V> {
    /// Where each is.
    order: Sorted<u64, usize>,
    places: Vec<Option<V>>,
    free: Vec<usize>,
}

impl<V> Placed<V> {
    pub(crate) fn new() -> Self {
        Self {
            order: Sorted::new(),
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&V> {
        self.places[*self.order.get(&number)?].as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        self.places[*self.order.get(&number)?].as_mut()
    }

    /// The number must be higher than any before.
    pub(crate) fn insert(&mut self, number: u64, value: V) -> &mut V {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let is_new = self.order.insert(number, place);
        debug_assert!(is_new, "no two have the same number");
        self.places[place].insert(value)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<V> {
        let place = self.order.remove(&number)?;
        self.free.push(place);
        self.places[place].take()
    }

    /// Drops a value where it is, if there is something to be made of it.
    pub(crate) fn settle<T>(&mut self, number: u64, outcome: impl FnOnce(&mut V) -> Option<T>) -> Option<T> {
        let mut made = None;
        let places = &mut self.places;
        let place = self.order.remove_if(&number, |place| {
            made = places[*place].as_mut().and_then(outcome);
            made.is_some()
        })?;
        self.places[place] = None;
        self.free.push(place);
        made
    }

    /// In the order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let placed = self.order.iter();
        placed.filter_map(|(number, place)| Some((*number, self.places[*place].as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0..4u8, 0..60u64), 0..300)) {
            let (mut placed, mut map) = (Placed::new(), BTreeMap::new());
            for (at, (op, number)) in ops.into_iter().enumerate() {
                let at = at as u64;
                match op {
                    0 => prop_assert_eq!(placed.remove(number), map.remove(&number)),
                    1 => {
                        placed.insert(at, at * 2);
                        map.insert(at, at * 2);
                    }
                    2 => {
                        let even = |value: &mut u64| value.is_multiple_of(4).then_some(*value);
                        let settled = map.get_mut(&number).and_then(even);
                        if settled.is_some() {
                            map.remove(&number);
                        }
                        prop_assert_eq!(placed.settle(number, even), settled);
                    }
                    _ => prop_assert_eq!(placed.get_mut(number).map(|value| *value += 1), map.get_mut(&number).map(|value| *value += 1)),
                }
                prop_assert_eq!(placed.get(number), map.get(&number));
                prop_assert!(placed.iter().eq(map.iter().map(|(number, value)| (*number, value))));
                prop_assert_eq!(placed.len(), map.len());
                prop_assert!(placed.places.len() <= placed.len() + placed.free.len());
            }
        }
    }
}
