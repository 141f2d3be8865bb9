//! What stands, what was said of it on this connection, and what is answered. No I/O: time and
//! numbers of requests are passed in.

mod application;
mod link;
mod server;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

use tower_ws_core::Ticket;

use crate::{
    dialect::Dialect,
    entry::Entry,
    feed::Feed,
    handle::{Change, Snapshot},
    update::{Ended, Update},
};

/// How much may stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The subscriptions of a session.
pub(crate) struct Standing<M> {
    limits: Limits,
    /// In the order in which they were asked for.
    entries: BTreeMap<u64, Entry<M>>,
    next: u64,
    bytes: usize,
    link: bool,
    /// What is to be said on this connection, in order.
    due: VecDeque<u64>,
    /// What could not be said now, and may be later.
    put_off: VecDeque<Own<M>>,
    /// What takes back, to be said before that.
    farewells: VecDeque<(M, Farewell)>,
    /// What took something back, until it is answered.
    farewelled: VecDeque<Farewell>,
    /// What the application has ended, until that is answered: by which request, and its name on
    /// this connection.
    unsubscribed: VecDeque<(Option<u64>, Box<str>)>,
    /// By the number of the request that began it on this connection.
    requests: HashMap<u64, u64>,
    /// By the name on this connection. A server may give one name to several.
    here: HashMap<Box<str>, Vec<u64>>,
    /// Who reads too slowly, and wants the layer to wait.
    stalled: Option<Feed<M>>,
    changes: Vec<Change>,
    counts: Snapshot,
    /// The numbers have changed since they were asked for.
    touched: bool,
}

/// Something that the layer has to say.
enum Own<M> {
    Due(u64),
    Farewell(M, Farewell),
}

/// A message of the layer's own that takes something back.
struct Farewell {
    request: u64,
    names: Vec<Box<str>>,
    ticket: Ticket,
}

/// What becomes of an outgoing message.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Learnt<M> {
    AsItIs,
    /// It goes with other words: the name is another on this connection.
    Instead(M),
    /// It does not go, and why.
    Refused(&'static str),
}

/// What becomes of an incoming message.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Fate<M> {
    /// It goes up as it is.
    AsItIs,
    /// It goes up with other words.
    Instead(M),
    /// It was for the layer, or has gone to whoever reads.
    Taken,
}

/// What somebody asks the layer to keep said.
#[derive(Debug)]
pub(crate) struct Ask<M> {
    pub(crate) message: M,
    pub(crate) undo: Option<Box<str>>,
    pub(crate) feed: Option<Feed<M>>,
}

/// How many of what was taken back are remembered on a connection: as many as there may be
/// subscriptions by default. A server that never answers is owed no more memory.
const FAREWELLED: usize = 1024;

impl<M: Clone> Standing<M> {
    pub(crate) fn new(limits: Limits, counts: Snapshot) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            next: 0,
            bytes: 0,
            link: false,
            due: VecDeque::new(),
            put_off: VecDeque::new(),
            farewells: VecDeque::new(),
            farewelled: VecDeque::new(),
            unsubscribed: VecDeque::new(),
            requests: HashMap::new(),
            here: HashMap::new(),
            stalled: None,
            changes: Vec::new(),
            counts,
            touched: false,
        }
    }

    fn room_for(&self, bytes: usize) -> Result<(), Ended> {
        let full = |what, limit| Err(Ended::NoRoom { what, limit });
        if self.entries.len() >= self.limits.messages {
            return full("number", self.limits.messages);
        }
        if bytes > self.limits.bytes - self.bytes {
            return full("bytes", self.limits.bytes);
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry<M>) -> u64 {
        let serial = self.next;
        self.next += 1;
        self.touched = true;
        self.bytes += entry.bytes;
        for name in &entry.names {
            self.here.entry(name.clone()).or_default().push(serial);
        }
        self.entries.insert(serial, entry);
        serial
    }

    /// Takes out what the application itself knows the end of.
    fn forget(&mut self, serial: u64) {
        let Some(entry) = self.entries.remove(&serial) else {
            return;
        };
        self.touched = true;
        self.bytes -= entry.bytes;
        for name in entry.names.iter().chain(&entry.here) {
            self.unname(serial, name);
        }
    }

    fn remove(&mut self, serial: u64, why: Ended) {
        let Some(entry) = self.entries.remove(&serial) else {
            return;
        };
        self.touched = true;
        self.bytes -= entry.bytes;
        for name in entry.names.iter().chain(&entry.here) {
            self.unname(serial, name);
        }
        self.over(&entry, why);
    }

    /// One of several names of a subscription is over, and the others stand.
    fn drop_name(&mut self, dialect: &impl Dialect<M>, serial: u64, name: &str, why: Ended) {
        self.unname(serial, name);
        let Some(entry) = self.entries.get_mut(&serial) else {
            return;
        };
        entry.names.retain(|other| **other != *name);
        if let Some(only) = dialect.only(&entry.message, &entry.names) {
            entry.message = only;
        }
        let (name, update) = (name.into(), Update::Ended(why));
        self.changes.push(Change { name, update });
    }

    fn over(&mut self, entry: &Entry<M>, why: Ended) {
        match &why {
            Ended::TakenBack | Ended::Closed(_) => {}
            why => tracing::warn!(error = %why, "a subscription has ended"),
        }
        if let Some(feed) = &entry.feed {
            feed.end(why.clone());
        }
        self.changes.push(Change::new(entry, Update::Ended(why)));
    }

    fn unname(&mut self, serial: u64, name: &str) {
        if let Some(all) = self.here.get_mut(name) {
            all.retain(|&other| other != serial);
            if all.is_empty() {
                self.here.remove(name);
            }
        }
    }

    fn tell(&mut self, serial: u64, update: Option<Update>) {
        if let (Some(entry), Some(update)) = (self.entries.get(&serial), update) {
            entry.tell(&update);
            self.changes.push(Change::new(entry, update));
        }
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Who reads too slowly, and wants the layer to wait.
    pub(crate) fn stalled(&mut self) -> &mut Option<Feed<M>> {
        &mut self.stalled
    }

    /// The numbers, if they have changed since they were last asked for.
    pub(crate) fn news(&mut self) -> Option<Snapshot> {
        let touched = std::mem::take(&mut self.touched) || !self.changes.is_empty();
        touched.then(|| Snapshot {
            standing: self.entries.len(),
            bytes: self.bytes,
            active: self.entries.values().filter(|entry| entry.is_active()).count(),
            ..self.counts
        })
    }
}

impl<M> fmt::Debug for Standing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("standing", &self.entries.len())
            .field("due", &self.due.len())
            .finish_non_exhaustive()
    }
}
