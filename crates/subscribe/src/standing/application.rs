//! What the application wants of its subscriptions.

use std::collections::BTreeSet;

use tokio::time::Instant;
use tower_ws_core::{Outgoing, Ticket, jsonrpc::Ids};

use super::{Ask, FAREWELLED, Farewell, Learnt, Standing};
use crate::{
    dialect::{Dialect, Says},
    entry::{Entry, Stage},
    update::Ended,
};

impl<M: Clone> Standing<M> {
    /// Somebody wants this to stand.
    pub(crate) fn ask(&mut self, dialect: &impl Dialect<M>, ask: Ask<M>, bytes: usize) {
        let mut entry = Entry::new(ask.message, bytes);
        (entry.undo, entry.feed) = (ask.undo, ask.feed);
        if let Says::Begins { names, .. } = dialect.says(&entry.message) {
            entry.names = names;
        }
        if let Err(full) = self.room_for(entry.bytes) {
            self.counts.refused += 1;
            self.over(&entry, full);
            return;
        }
        let serial = self.insert(entry);
        if self.link {
            self.due.push_back(serial);
        }
    }

    /// A message of the application's is about to go out.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        dialect: &impl Dialect<M>,
        item: &Outgoing<M>,
        bytes: usize,
    ) -> Learnt<M> {
        match dialect.says(&item.message) {
            Says::Other => Learnt::AsItIs,
            Says::Begins { request, names } => self.begins(now, dialect, item, bytes, request, names),
            Says::Ends { request, names } => self.ends(dialect, &item.message, request, &names),
        }
    }

    fn begins(
        &mut self,
        now: Instant,
        dialect: &impl Dialect<M>,
        item: &Outgoing<M>,
        bytes: usize,
        request: Option<u64>,
        mut names: Vec<Box<str>>,
    ) -> Learnt<M> {
        let all = names.len();
        for serial in self.of_the_application(&names) {
            if let Some(entry) = self.entries.get_mut(&serial) {
                // It stands already: this answer is for the application.
                entry.unanswered = false;
                entry.begun += 1;
            }
        }
        names.retain(|name| self.of_the_application(std::slice::from_ref(name)).is_empty());
        if all > 0 && names.is_empty() {
            return Learnt::AsItIs;
        }
        if let Err(full) = self.room_for(bytes) {
            self.counts.refused += 1;
            tracing::warn!(error = %full, "a subscription was refused");
            return Learnt::Refused("there is no room for one more subscription");
        }
        let only = (names.len() < all)
            .then(|| dialect.only(&item.message, &names))
            .flatten();
        let mut entry = Entry::new(only.unwrap_or_else(|| item.message.clone()), bytes);
        entry.names = names;
        entry.stage = Stage::Asked(item.ticket.clone());
        // Where the server gives the name, its answer decides.
        let update = match all {
            0 => None,
            _ => entry.activate(now),
        };
        let serial = self.insert(entry);
        if let Some(request) = request {
            self.requests.insert(request, serial);
        }
        self.tell(serial, update);
        Learnt::AsItIs
    }

    /// Which subscriptions with these names the application itself has.
    pub(super) fn of_the_application(&self, names: &[Box<str>]) -> BTreeSet<u64> {
        let serials = names.iter().filter_map(|name| self.here.get(name)).flatten();
        let is_its = |serial: &&u64| self.entries.get(serial).is_some_and(|entry| entry.feed.is_none());
        serials.filter(is_its).copied().collect()
    }

    fn ends(&mut self, dialect: &impl Dialect<M>, message: &M, request: Option<u64>, names: &[Box<str>]) -> Learnt<M> {
        let mut learnt = Learnt::AsItIs;
        for name in names {
            let known = |entry: &Entry<M>| entry.feed.is_none() && entry.names.contains(name);
            let Some((&serial, entry)) = self.entries.iter_mut().find(|(_, entry)| known(entry)) else {
                continue;
            };
            if entry.names.len() > 1 {
                self.drop_name(dialect, serial, name, Ended::TakenBack);
                continue;
            }
            let present = entry.here.as_ref().unwrap_or(name);
            if entry.is_active() && self.here.get(present).is_some_and(|all| all.len() > 1) {
                self.remove(serial, Ended::TakenBack);
                return Learnt::Refused("the subscription is taken back, and somebody else has the same");
            }
            learnt = match &entry.here {
                Some(here) if here != name => match dialect.renamed(message, here) {
                    Some(other) => Learnt::Instead(other),
                    None => Learnt::AsItIs,
                },
                // By that name the server may know another.
                None if matches!(entry.stage, Stage::Said(_)) => {
                    entry.unwanted = true;
                    return Learnt::Refused("the subscription is just being said again, and is taken back after that");
                }
                None if dialect.gives_names() => {
                    self.remove(serial, Ended::TakenBack);
                    return Learnt::Refused("the subscription was not said again yet, and is not any more");
                }
                _ => Learnt::AsItIs,
            };
            if let Some(here) = entry.here.take() {
                self.unname(serial, &here);
                if self.unsubscribed.len() >= FAREWELLED {
                    self.unsubscribed.pop_front();
                }
                self.unsubscribed.push_back((request, here));
            }
            self.remove(serial, Ended::TakenBack);
        }
        learnt
    }

    /// Whoever reads this feed does so no more.
    pub(crate) fn let_go(&mut self, dialect: &impl Dialect<M>, feed: u64, ids: &Ids) {
        let is_its = |entry: &Entry<M>| entry.feed.as_ref().is_some_and(|other| other.id == feed);
        let found = self.entries.iter().find(|(_, entry)| is_its(entry));
        if let Some(serial) = found.map(|(&serial, _)| serial) {
            self.take_back(dialect, serial, Ended::TakenBack, ids);
        }
    }

    pub(super) fn take_back(&mut self, dialect: &impl Dialect<M>, serial: u64, why: Ended, ids: &Ids) {
        let Some(entry) = self.entries.get_mut(&serial) else {
            return;
        };
        if let Stage::Said(_) = entry.stage {
            // What to take back, the answer says.
            entry.unwanted = true;
            entry.feed = None;
            return;
        }
        if entry.is_active() && self.link {
            let names = entry.here.as_slice();
            let names = if names.is_empty() { &entry.names } else { names };
            // Somebody else has the same.
            let shared = names
                .iter()
                .any(|name| self.here.get(name).is_some_and(|all| all.len() > 1));
            let id = ids.next_id();
            if !shared && let Some(message) = dialect.ending(&entry.message, names, entry.undo.as_deref(), id) {
                let farewell = Farewell {
                    request: id,
                    names: names.to_vec(),
                    ticket: Ticket::new(),
                };
                self.farewells.push_back((message, farewell));
            }
        }
        self.remove(serial, why);
    }
}
