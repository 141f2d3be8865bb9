//! What the server says of subscriptions.

use tokio::time::Instant;
use tower_ws_core::{Excerpt, jsonrpc::Ids};

use super::{Farewell, Fate, Own, Standing};
use crate::{
    dialect::{Dialect, Hears, To},
    entry::{Entry, Stage},
    feed::Lag,
    handle::Change,
    numbers::Numbered,
    update::{Ended, Update},
};

impl<M: Clone> Standing<M> {
    /// Nothing stands, and nothing was taken back: no message that comes in is of any concern.
    pub(crate) fn is_idle(&self) -> bool {
        let has_taken_back = !self.farewells.is_empty() || !self.farewelled.is_empty() || !self.unsubscribed.is_empty();
        self.entries.is_empty() && !has_taken_back && !self.has_put_off()
    }

    /// A message came in.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        dialect: &impl Dialect<M>,
        message: &M,
        bytes: usize,
        ids: &Ids,
    ) -> Fate<M> {
        match dialect.hears(message) {
            Hears::Other => Fate::AsItIs,
            Hears::Answer(To::Request(request)) => self.answered(now, dialect, request, message, ids),
            Hears::Answer(To::Name(name)) => self.confirmed(dialect, &name, message),
            Hears::Told(name) => self.told(dialect, &name, message, bytes, ids),
            Hears::Over(name) => self.ended(dialect, &name, message, bytes),
        }
    }

    fn answered(&mut self, now: Instant, dialect: &impl Dialect<M>, request: u64, message: &M, ids: &Ids) -> Fate<M> {
        if let Some(at) = self.farewelled.iter().position(|farewell| farewell.request == request) {
            self.farewelled.remove(at);
            return Fate::Taken;
        }
        let Some(serial) = self.requests.remove(&request) else {
            self.unsubscribed.retain(|(by, _)| *by != Some(request));
            return Fate::AsItIs;
        };
        let Some(entry) = self.entries.get_mut(&serial) else {
            return Fate::Taken;
        };
        let own = std::mem::take(&mut entry.unanswered);
        let name = match dialect.answer(message) {
            Ok(name) => name,
            Err(why) => {
                self.refused(serial, own, &why);
                return if own { Fate::Taken } else { Fate::AsItIs };
            }
        };
        let Some(name) = name else {
            if entry.names.is_empty() {
                self.refused(serial, own, "its answer gives no name");
            }
            return if own { Fate::Taken } else { Fate::AsItIs };
        };
        let known = match entry.names.first() {
            Some(known) => known.clone(),
            None => self.known_as(dialect, &name),
        };
        let Some(entry) = self.entries.get_mut(&serial) else {
            return Fate::Taken;
        };
        entry.names = vec![known.clone()];
        entry.here = Some(name.clone());
        // Its caller has given up, and nobody else would ever take it back.
        let given_up = matches!(&entry.stage, Stage::Asked(Some(ticket)) if ticket.is_cancelled());
        let unwanted = entry.unwanted || given_up;
        let update = entry.activate(now);
        let fate = match (own, known == name) {
            (true, _) => Fate::Taken,
            (false, true) => Fate::AsItIs,
            (false, false) => dialect.renamed(message, &known).map_or(Fate::AsItIs, Fate::Instead),
        };
        self.here.entry(name).or_default().push(serial);
        if unwanted {
            self.take_back(dialect, serial, Ended::TakenBack, ids);
        } else {
            self.tell(serial, update);
        }
        fate
    }

    /// By which name the application is to know one that the server calls `name`.
    fn known_as(&self, dialect: &impl Dialect<M>, name: &str) -> Box<str> {
        // The server gives the same name to what is the same: then it is the same for all.
        if self.here.contains_key(name) {
            let same = self.here.get(name).and_then(|all| self.entries.get(all.first()?));
            return same.map_or_else(|| name.into(), Entry::title);
        }
        let is_taken = |name: &str| {
            self.entries
                .values()
                .any(|entry| entry.names.iter().any(|n| **n == *name))
        };
        let mut known: Box<str> = name.into();
        let mut nth = 0;
        while is_taken(&known) {
            known = dialect.alias(name, nth);
            nth += 1;
        }
        known
    }

    /// The server has said something of what began the subscription with this name.
    fn confirmed(&mut self, dialect: &impl Dialect<M>, name: &str, message: &M) -> Fate<M> {
        let Some(&serial) = self.here.get(name).and_then(|all| all.first()) else {
            let is_its = |farewell: &Farewell| farewell.names.iter().any(|other| **other == *name);
            let at = self.farewelled.iter().position(is_its);
            return at
                .and_then(|at| self.farewelled.remove(at))
                .map_or(Fate::AsItIs, |_| Fate::Taken);
        };
        let Some(entry) = self.entries.get_mut(&serial) else {
            return Fate::AsItIs;
        };
        // One message may be answered once for each of its names.
        let own = entry.unanswered || entry.feed.is_some();
        let is_one_of_several = entry.names.len() > 1;
        if let Err(why) = dialect.answer(message) {
            match own && is_one_of_several {
                true => self.drop_name(dialect, serial, name, Ended::Refused(Excerpt::new(&why).to_string())),
                false => self.refused(serial, own, &why),
            }
        }
        if own { Fate::Taken } else { Fate::AsItIs }
    }

    fn told(&mut self, dialect: &impl Dialect<M>, name: &str, message: &M, bytes: usize, ids: &Ids) -> Fate<M> {
        let Some(serials) = self.here.get(name) else {
            return match self.is_nobodys(dialect, name) {
                true => Fate::Taken,
                false => Fate::AsItIs,
            };
        };
        let mut fate = Fate::Taken;
        let mut late = None;
        let number = dialect.number(message);
        for &serial in serials {
            let Some(entry) = self.entries.get_mut(&serial) else {
                continue;
            };
            match number.map(|number| entry.numbers.hear(number, dialect.goes_on())) {
                Some(Numbered::Again) => {
                    self.counts.duplicates += 1;
                    self.touched = true;
                    continue;
                }
                Some(Numbered::Missing { first, last }) => {
                    self.counts.missed += (last - first).saturating_add(1);
                    let update = Update::Missed { first, last };
                    entry.tell(&update);
                    self.changes.push(Change::new(entry, update));
                }
                Some(Numbered::Next) | None => {}
            }
            match &entry.feed {
                None if entry.unwanted => {}
                None => fate = Self::for_those_above(dialect, entry, name, message),
                Some(feed) => {
                    if !feed.put(message.clone(), bytes) {
                        late = Some(serial);
                    } else if feed.lag == Lag::Wait && feed.is_full() {
                        self.stalled = Some(feed.clone());
                    }
                }
            }
        }
        if let Some(serial) = late {
            self.take_back(dialect, serial, Ended::Lagged, ids);
        }
        fate
    }

    /// What is told under this name is for nobody: it was taken back, and the server has not heard
    /// so yet; or the application knows another by it, which has another name on this connection.
    fn is_nobodys(&self, dialect: &impl Dialect<M>, name: &str) -> bool {
        let farewells = self.farewells.iter().map(|(_, farewell)| farewell);
        let put_off = self.put_off.iter().filter_map(|own| match own {
            Own::Farewell(_, farewell) => Some(farewell),
            Own::Due(_) => None,
        });
        let mut taken_back = farewells
            .chain(&self.farewelled)
            .chain(put_off)
            .flat_map(|farewell| &farewell.names)
            .chain(self.unsubscribed.iter().map(|(_, name)| name));
        let is_known = |entry: &Entry<M>| entry.names.iter().any(|known| **known == *name);
        taken_back.any(|other| **other == *name) || dialect.gives_names() && self.entries.values().any(is_known)
    }

    /// The server ends a subscription.
    fn ended(&mut self, dialect: &impl Dialect<M>, name: &str, message: &M, bytes: usize) -> Fate<M> {
        let Some(serials) = self.here.get(name).cloned() else {
            return Fate::AsItIs;
        };
        let why = match dialect.answer(message) {
            Ok(_) => Ended::ByServer("it is complete".to_owned()),
            Err(why) => Ended::ByServer(Excerpt::new(&why).to_string()),
        };
        let mut fate = Fate::Taken;
        for serial in serials {
            let Some(entry) = self.entries.get(&serial) else {
                continue;
            };
            match &entry.feed {
                // The last that it hears is why.
                Some(feed) => drop(feed.put(message.clone(), bytes)),
                None if entry.unwanted => {}
                None => fate = Self::for_those_above(dialect, entry, name, message),
            }
            self.remove(serial, why.clone());
        }
        fate
    }

    /// As it is, but for the name: the application knows its own.
    fn for_those_above(dialect: &impl Dialect<M>, entry: &Entry<M>, name: &str, message: &M) -> Fate<M> {
        let known = entry
            .names
            .first()
            .filter(|known| ***known != *name && entry.here.is_some());
        let renamed = known.and_then(|known| dialect.renamed(message, known));
        renamed.map_or(Fate::AsItIs, Fate::Instead)
    }

    fn refused(&mut self, serial: u64, own: bool, why: &str) {
        if !own {
            // The application reads the answer.
            return self.forget(serial);
        }
        self.counts.refused += 1;
        self.remove(serial, Ended::Refused(Excerpt::new(why).to_string()));
    }
}
