//! What a connection that comes or goes means for what stands.

use tokio::time::Instant;
use tower_ws_core::{DropReason, Failure, FailureKind, Lane, Outgoing, Ticket, jsonrpc::Ids};

use super::{FAREWELLED, Farewell, Own, Standing};
use crate::{
    dialect::{Dialect, Says},
    entry::{Entry, Stage},
    update::Ended,
};

impl<M: Clone> Standing<M> {
    /// A connection is up. All that stands is to be said on it, unless the server has it still.
    pub(crate) fn came_up(&mut self, now: Instant, resumed: bool) {
        self.link = true;
        self.due.clear();
        for serial in self.entries.keys().copied().collect::<Vec<_>>() {
            let Some(entry) = self.entries.get_mut(&serial) else {
                continue;
            };
            if resumed && entry.lost.is_some() {
                let update = entry.activate(now);
                self.tell(serial, update);
                continue;
            }
            self.due.push_back(serial);
            if let Some(here) = entry.here.take() {
                self.unname(serial, &here);
            }
        }
    }

    /// The connection is gone, and another may come.
    pub(crate) fn went_down(&mut self, now: Instant, why: &Failure) {
        self.link = false;
        self.due.clear();
        self.put_off.clear();
        self.farewells.clear();
        self.farewelled.clear();
        self.unsubscribed.clear();
        self.requests.clear();
        for serial in self.entries.keys().copied().collect::<Vec<_>>() {
            let Some(entry) = self.entries.get_mut(&serial) else {
                continue;
            };
            match entry.stage {
                // Whoever made the request knows what becomes of it.
                Stage::Asked(_) => self.forget(serial),
                _ if entry.unwanted => self.remove(serial, Ended::TakenBack),
                _ => {
                    let update = entry.lose(now, why);
                    self.tell(serial, update);
                }
            }
        }
    }

    /// The session is over.
    pub(crate) fn end(&mut self, why: Option<&Failure>) {
        self.link = false;
        self.due.clear();
        self.put_off.clear();
        self.farewells.clear();
        while let Some((&serial, _)) = self.entries.first_key_value() {
            self.remove(serial, Ended::Closed(why.cloned()));
        }
    }

    /// Is there anything to be said?
    pub(crate) fn has_own(&self) -> bool {
        !self.due.is_empty() || !self.farewells.is_empty()
    }

    /// The next message of the layer's own.
    pub(crate) fn next_own(&mut self, now: Instant, dialect: &impl Dialect<M>, ids: &Ids) -> Option<Outgoing<M>> {
        if let Some((message, farewell)) = self.farewells.pop_front() {
            if self.farewelled.len() >= FAREWELLED {
                self.farewelled.pop_front();
            }
            let item = Outgoing::new(message).ticket(farewell.ticket.clone());
            self.farewelled.push_back(farewell);
            return Some(item);
        }
        let serial = self.due.pop_front()?;
        if !dialect.gives_names() && self.is_shared(serial) {
            // To the server they are one, which it has.
            let update = self.entries.get_mut(&serial)?.activate(now);
            self.tell(serial, update);
            return None;
        }
        let entry = self.entries.get_mut(&serial)?;
        let resumed = entry
            .numbers
            .last()
            .and_then(|last| dialect.resume(&entry.message, last));
        let message = resumed.unwrap_or_else(|| entry.message.clone());
        let request = ids.next_id();
        let message = match dialect.numbered(&message, request) {
            Some(numbered) => {
                self.requests.insert(request, serial);
                numbered
            }
            None => message,
        };
        let ticket = Ticket::new();
        entry.stage = Stage::Said(ticket.clone());
        entry.unanswered = true;
        self.counts.said += 1;
        let update = match dialect.gives_names() {
            true => None,
            false => entry.activate(now),
        };
        self.tell(serial, update);
        Some(Outgoing::new(message).ticket(ticket))
    }

    /// Whether others that are active have all its names.
    fn is_shared(&self, serial: u64) -> bool {
        let has = |other: &u64| *other != serial && self.entries.get(other).is_some_and(Entry::is_active);
        let names = self.entries.get(&serial).map_or(&[][..], |entry| &entry.names);
        let is_had = |name: &str| self.here.get(name).is_some_and(|all| all.iter().any(has));
        !names.is_empty() && names.iter().all(|name| is_had(name))
    }

    /// A message came back unsent. True if it is one of the layer's own.
    pub(crate) fn returned(
        &mut self,
        now: Instant,
        dialect: &impl Dialect<M>,
        item: &Outgoing<M>,
        reason: &DropReason,
    ) -> bool {
        let own = item.ticket.as_ref().and_then(|ticket| {
            let said = self.entries.iter().find(|(_, entry)| entry.is_said_by(ticket));
            said.map(|(&serial, _)| serial)
        });
        if let Some(serial) = own {
            match reason {
                // The connection is gone: the next gets it.
                DropReason::Disconnected | DropReason::Closed | DropReason::Cancelled => {}
                DropReason::TooLarge { .. } => self.remove(serial, Ended::NotSent(reason.clone())),
                // By a rate limit that refuses, say.
                _ => self.put_off(now, serial, reason),
            }
            return true;
        }
        let its = item.ticket.as_ref();
        let is_its = |farewell: &Farewell| its.is_some_and(|ticket| farewell.ticket.is(ticket));
        if let Some(at) = self.farewelled.iter().position(is_its) {
            let farewell = self.farewelled.remove(at);
            if let (DropReason::Refused(_) | DropReason::Overflow, Some(mut farewell)) = (reason, farewell) {
                // A ticket is good for one message.
                farewell.ticket = Ticket::new();
                self.put_off.push_back(Own::Farewell(item.message.clone(), farewell));
            }
            return true;
        }
        if item.lane == Lane::Control {
            return false; // It passed without a look.
        }
        // What the application began has not begun.
        if let Says::Begins { request, names } = dialect.says(&item.message) {
            let asked = request.and_then(|request| self.requests.remove(&request));
            let mut serials = self.of_the_application(&names);
            serials.extend(asked);
            for serial in serials {
                self.unsaid(serial);
            }
        }
        false
    }

    /// It could not be said now, and is to be said later, on this connection too.
    fn put_off(&mut self, now: Instant, serial: u64, reason: &DropReason) {
        tracing::debug!(%reason, "a subscription could not be said now, and is put off");
        let why =
            Failure::new(FailureKind::Local, "the subscription could not be said now").with_source(reason.clone());
        self.requests.retain(|_, other| *other != serial);
        let update = self.entries.get_mut(&serial).and_then(|entry| entry.lose(now, &why));
        self.tell(serial, update);
        self.put_off.push_back(Own::Due(serial));
    }

    /// Is there anything that was put off?
    pub(crate) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// What was put off is due again.
    pub(crate) fn retry(&mut self) {
        for own in self.put_off.drain(..) {
            match own {
                Own::Due(serial) => self.due.push_back(serial),
                Own::Farewell(message, farewell) => self.farewells.push_back((message, farewell)),
            }
        }
    }

    /// One of the application's own messages that began it was not sent.
    fn unsaid(&mut self, serial: u64) {
        if let Some(entry) = self.entries.get_mut(&serial) {
            entry.begun -= 1;
            if entry.begun == 0 {
                self.forget(serial);
            }
        }
    }
}
