use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{KeyedLimitError, refusing::Refusing};
use crate::{
    layer::Excess,
    quota::{Kind, Quota},
    schedule::{Schedule, Turn},
};

/// The limits of all keys, and who waits. Shared by the clones of a layer.
#[derive(Debug)]
pub(super) struct Keys<K: Clone + Eq + Hash>(Mutex<Table<K>>);

/// A request that may wait needs a turn in a schedule, and so does one that counts in a window.
/// Where a rate is refused at once, governor knows all that there is to know.
#[derive(Debug)]
struct Table<K: Clone + Eq + Hash> {
    schedules: HashMap<K, Schedule>,
    refusing: Option<Refusing<K>>,
    waiting: usize,
    /// When it was last looked through for keys that are not in use.
    looked_through: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) quota: Quota,
    pub(super) excess: Excess,
    pub(super) keys: usize,
    pub(super) waiting: usize,
}

/// How often a full table is looked through: not more than once in 100 ms, so that a flood of keys
/// does not become one of searches.
const LOOK: Duration = Duration::from_millis(100);

/// A place among those who wait. Dropped before its turn has come, it gives the turn back.
#[derive(Debug)]
pub(super) struct Place<K: Clone + Eq + Hash> {
    keys: Arc<Keys<K>>,
    key: K,
    at: Instant,
}

impl<K: Clone + Eq + Hash> Keys<K> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table {
            schedules: HashMap::new(),
            refusing: None,
            waiting: 0,
            looked_through: None,
        }))
    }

    /// Passes now (`None`), or gets a place to wait at.
    pub(super) fn enter(self: &Arc<Self>, key: K, bounds: &Bounds) -> Result<Option<Place<K>>, KeyedLimitError> {
        let now = Instant::now();
        let table = &mut *self.lock();
        if let Kind::Rate { every, burst } = bounds.quota.kind()
            && bounds.excess == Excess::Refuse
        {
            if !table.refusing.as_ref().is_some_and(|limits| limits.contains(&key)) {
                table.make_room(now, bounds.keys)?;
            }
            let limits = table.refusing.get_or_insert_with(|| Refusing::new(every, burst));
            let passed = limits.pass(&key);
            return passed.map_or_else(
                |retry_after| Err(KeyedLimitError::Refused { retry_after }),
                |()| Ok(None),
            );
        }
        if !table.schedules.contains_key(&key) {
            table.make_room(now, bounds.keys)?;
        }
        let schedule = table
            .schedules
            .entry(key.clone())
            .or_insert_with(|| Schedule::new(Some(bounds.quota), None, now));
        let wait = schedule.earliest(now, 0).map_or(Duration::ZERO, |at| at - now);
        if wait > Duration::ZERO {
            if bounds.excess == Excess::Refuse {
                return Err(KeyedLimitError::Refused { retry_after: wait });
            }
            if table.waiting >= bounds.waiting {
                return Err(KeyedLimitError::TooManyWaiting(bounds.waiting));
            }
        }
        match schedule.book(now, 0) {
            Ok(at) if at > now => {
                table.waiting += 1;
                let keys = self.clone();
                Ok(Some(Place { keys, key, at }))
            }
            _ => Ok(None),
        }
    }
}

impl<K: Clone + Eq + Hash> Keys<K> {
    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    fn len(&self) -> usize {
        self.schedules.len() + self.refusing.as_ref().map_or(0, Refusing::len)
    }

    /// A key whose quota is whole is forgotten: nobody would notice.
    fn make_room(&mut self, now: Instant, most: usize) -> Result<(), KeyedLimitError> {
        if self.len() < most {
            return Ok(());
        }
        if self.looked_through.is_none_or(|then| then + LOOK <= now) {
            self.looked_through = Some(now);
            self.schedules.retain(|_, schedule| !schedule.is_idle(now));
            self.refusing.iter().for_each(Refusing::forget_idle);
        }
        match self.len() < most {
            true => Ok(()),
            false => Err(KeyedLimitError::TooManyKeys(most)),
        }
    }
}

impl<K: Clone + Eq + Hash> Place<K> {
    /// Until when to wait; `None` when the turn has come.
    pub(super) fn wait(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut table = self.keys.lock();
        // A key with somebody who waits is in use: it is not forgotten.
        let schedule = table.schedules.get_mut(&self.key)?;
        if schedule.turn(now, self.at) == Turn::Missed
            && let Ok(at) = schedule.book_again(now, self.at, 0)
        {
            self.at = at;
        }
        match schedule.turn(now, self.at) {
            Turn::At(at) => Some(at),
            Turn::Now | Turn::Missed => None,
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut table = self.keys.lock();
        table.waiting -= 1;
        if let Some(schedule) = table.schedules.get_mut(&self.key) {
            // One whose turn has come is not given back.
            schedule.give_back(now, self.at);
        }
    }
}
