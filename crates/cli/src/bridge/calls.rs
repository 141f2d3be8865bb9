//! The host's requests that are under way, and until when each of them is waited for. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, value::RawValue};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Calls {
    /// By their ids, as they are written.
    under_way: BTreeMap<String, Call>,
    /// When each of them is given up, the first one first.
    ends: BTreeSet<(Instant, String)>,
}

pub(super) struct Call {
    pub(super) id: Box<RawValue>,
    /// None: for ever.
    pub(super) until: Option<Instant>,
    pub(super) progress_token: Option<Value>,
    pub(super) kind: Kind,
    /// Its time is up, and the relay is asked what has become of it.
    pub(super) is_over: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `initialize` or `server/discover`.
    Introduction,
    Tools,
    Other,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// One more. An id that is used again is the new one's.
    pub(super) fn begin(&mut self, call: Call) {
        let key = call.id.get().to_owned();
        self.end(&key);
        self.ends.extend(call.until.map(|until| (until, key.clone())));
        self.under_way.insert(key, call);
    }

    /// It is under way no more.
    pub(super) fn end(&mut self, key: &str) -> Option<Call> {
        let call = self.under_way.remove(key)?;
        if let Some(until) = call.until {
            self.ends.remove(&(until, key.to_owned()));
        }
        Some(call)
    }

    /// All of them are not.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = Call> + use<> {
        self.ends.clear();
        std::mem::take(&mut self.under_way).into_values()
    }

    /// None of this kind is.
    pub(super) fn end_of(&mut self, kind: Kind) -> Vec<Call> {
        let those = self.under_way.values().filter(|call| call.kind == kind);
        let keys: Vec<_> = those.map(|call| call.id.get().to_owned()).collect();
        keys.iter().filter_map(|key| self.end(key)).collect()
    }

    /// When the next one is given up.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The next one whose time is up.
    pub(super) fn due(&mut self, now: Instant) -> Option<Call> {
        let (until, key) = self.ends.first()?.clone();
        (until <= now).then(|| self.end(&key)).flatten()
    }

    /// The server has said how far it has come with the one that has this token: it has as long as this again.
    pub(super) fn progressed(&mut self, token: &Value, limit: Duration, now: Instant) {
        let is_it = |call: &&Call| call.progress_token.as_ref() == Some(token) && !call.is_over;
        let Some(key) = self.under_way.values().find(is_it).map(|call| call.id.get().to_owned()) else {
            return;
        };
        if let Some(call) = self.end(&key) {
            self.begin(Call {
                until: now.checked_add(limit),
                ..call
            });
        }
    }
}
