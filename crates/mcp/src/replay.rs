//! What a server forgets with a connection, and is told again on the next. No I/O.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::{
    Phase, Ticket, TicketSteps,
    jsonrpc::{Call, write_call},
};

use crate::listen::Backlog;

/// What is to be said again: it is learnt from the requests as they go out, whoever made them.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    level: Option<Box<RawValue>>,
    subscriptions: BTreeSet<String>,
    /// How much text the subscriptions are.
    bytes: usize,
    listens: Vec<Listen>,
    /// Who reads what is told under listens that have not gone out yet, by their progress tokens.
    readers: HashMap<String, Backlog>,
}

/// A `subscriptions/listen` that has not been answered: the answer is its end.
#[derive(Debug)]
struct Listen {
    /// The id that the caller knows it by.
    original: u64,
    /// The id that it has on this connection.
    current: u64,
    params: Option<Box<RawValue>>,
    ticket: Option<Ticket>,
    /// Where what is told under it goes, if not to all others.
    reader: Option<Backlog>,
    /// The server has agreed to it, on some connection.
    acknowledged: bool,
}

/// Who hears what a server tells under a listen.
#[derive(Clone, Debug)]
pub(crate) struct Hearer {
    /// The id that it is known by, if that is another.
    pub(crate) original: Option<u64>,
    pub(crate) reader: Option<Backlog>,
}

/// What became of an outgoing request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Noted {
    /// Nothing is to be remembered, or it is.
    AsItIs,
    /// It goes with another text: it names an id that is another on this connection.
    Instead(Bytes),
    /// It should have been remembered, and there is no room.
    Forgotten,
}

impl Replays {
    /// How many resources are subscribed to again: 1,024. Each costs a request on each connection.
    pub(crate) const SUBSCRIPTIONS: usize = 1024;
    /// How much text their addresses may be in all: 1 MiB.
    const BYTES: usize = 1 << 20;
    /// How many listens are begun again: 64.
    pub(crate) const LISTENS: usize = 64;

    /// Whether requests of this method may be remembered.
    pub(crate) fn remembers(method: &[u8]) -> bool {
        matches!(
            method,
            b"logging/setLevel" | b"resources/subscribe" | b"resources/unsubscribe" | b"subscriptions/listen"
        )
    }

    /// A request of a method that it [remembers](Self::remembers), or a notification, is about to go
    /// out.
    pub(crate) fn note(&mut self, call: &Call<'_>, ticket: Option<&Ticket>) -> Noted {
        let id = call.id.and_then(|id| id.get().parse().ok());
        match (&*call.method, id) {
            ("logging/setLevel", Some(_)) => {
                self.level = call.params.map(ToOwned::to_owned);
                Noted::AsItIs
            }
            ("resources/subscribe", Some(_)) => match uri(call) {
                Some(uri) => self.subscribe(uri),
                None => Noted::AsItIs,
            },
            ("resources/unsubscribe", Some(_)) => {
                if let Some(uri) = uri(call)
                    && self.subscriptions.remove(&uri)
                {
                    self.bytes -= uri.len();
                }
                Noted::AsItIs
            }
            ("subscriptions/listen", Some(id)) => self.listen(id, call, ticket),
            ("notifications/cancelled", None) => self.cancel(call),
            _ => Noted::AsItIs,
        }
    }

    fn subscribe(&mut self, uri: String) -> Noted {
        if self.subscriptions.contains(&uri) {
            return Noted::AsItIs;
        }
        if self.subscriptions.len() >= Self::SUBSCRIPTIONS || uri.len() > Self::BYTES - self.bytes {
            return Noted::Forgotten;
        }
        self.bytes += uri.len();
        self.subscriptions.insert(uri);
        Noted::AsItIs
    }

    fn listen(&mut self, id: u64, call: &Call<'_>, ticket: Option<&Ticket>) -> Noted {
        if self.listens.len() >= Self::LISTENS {
            return Noted::Forgotten;
        }
        let reader = token(call).and_then(|token| self.readers.remove(&token));
        self.listens.push(Listen {
            original: id,
            current: id,
            params: call.params.map(ToOwned::to_owned),
            ticket: ticket.cloned(),
            reader,
            acknowledged: false,
        });
        Noted::AsItIs
    }

    fn cancel(&mut self, call: &Call<'_>) -> Noted {
        #[derive(Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            id: u64,
        }
        let cancelled = call
            .params
            .and_then(|params| serde_json::from_str::<Cancelled>(params.get()).ok());
        let at = cancelled.and_then(|cancelled| self.listens.iter().position(|listen| listen.original == cancelled.id));
        match at.map(|at| self.listens.remove(at)) {
            Some(listen) if listen.current != listen.original => Noted::Instead(cancellation(listen.current)),
            _ => Noted::AsItIs,
        }
    }

    /// The connection is gone. Who waits for the end of a listen goes on waiting.
    pub(crate) fn lost(&mut self) {
        self.listens.retain(|listen| match &listen.ticket {
            // One that was not sent is with those above.
            Some(ticket) => ticket.mark_held() || ticket.phase() == Phase::Held,
            None => true,
        });
    }

    /// What a legacy server is told before anything else: method and parameters.
    pub(crate) fn legacy(&self) -> Vec<(&'static str, Box<RawValue>)> {
        let level = self.level.iter().map(|level| ("logging/setLevel", level.clone()));
        let subscriptions = self.subscriptions.iter().filter_map(|uri| {
            let params = serde_json::value::to_raw_value(&serde_json::json!({ "uri": uri })).ok()?;
            Some(("resources/subscribe", params))
        });
        level.chain(subscriptions).collect()
    }

    /// Begins each listen again, under new ids: what a modern server is told before anything else.
    pub(crate) fn modern(&mut self, mut next_id: impl FnMut() -> u64) -> Vec<(u64, Option<Box<RawValue>>)> {
        self.listens.retain(|listen| !listen.is_given_up());
        let again = self.listens.iter_mut().map(|listen| {
            listen.current = next_id();
            (listen.current, listen.params.clone())
        });
        again.collect()
    }

    /// The cancellations of those that were given up on while they were begun again.
    pub(crate) fn given_up(&mut self) -> Vec<Bytes> {
        let gone = self.listens.extract_if(.., |listen| listen.is_given_up());
        gone.map(|listen| cancellation(listen.current)).collect()
    }

    /// What is told under the listen that goes out with this progress token goes to this reader only.
    /// False if there is no room.
    pub(crate) fn expect(&mut self, token: String, reader: Backlog) -> bool {
        let has_room = self.listens.len() + self.readers.len() < Self::LISTENS;
        if has_room {
            self.readers.insert(token, reader);
        }
        has_room
    }

    /// It will not go out any more, if it has not.
    pub(crate) fn forget(&mut self, token: &str) {
        self.readers.remove(token);
    }

    /// Who hears what is told under the listen with this id.
    pub(crate) fn hearer(&self, current: u64) -> Option<Hearer> {
        let listen = self.listens.iter().find(|listen| listen.current == current)?;
        Some(listen.hearer())
    }

    /// The server agrees to the listen with this id. Whether it has done so before, on another
    /// connection.
    pub(crate) fn acknowledged(&mut self, current: u64) -> Option<bool> {
        let listen = self.listens.iter_mut().find(|listen| listen.current == current)?;
        Some(std::mem::replace(&mut listen.acknowledged, true))
    }

    /// The server ends the listen with this id. Returns the id that the caller knows.
    pub(crate) fn cancelled(&mut self, current: u64) -> Option<u64> {
        let at = self.listens.iter().position(|listen| listen.current == current)?;
        Some(self.listens.remove(at).original)
    }

    /// A listen was answered: it has ended. Returns the id that the caller knows, if it is another.
    pub(crate) fn ended(&mut self, current: u64) -> Option<u64> {
        let at = self.listens.iter().position(|listen| listen.current == current)?;
        let listen = self.listens.remove(at);
        (listen.original != current).then_some(listen.original)
    }

    pub(crate) fn listens(&self) -> bool {
        !self.listens.is_empty()
    }
}

impl Listen {
    fn hearer(&self) -> Hearer {
        Hearer {
            original: (self.original != self.current).then_some(self.original),
            reader: self.reader.clone(),
        }
    }

    fn is_given_up(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_cancelled)
    }
}

fn token(call: &Call<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "progressToken")]
        token: String,
    }
    Some(serde_json::from_str::<Params>(call.params?.get()).ok()?.meta.token)
}

fn uri(call: &Call<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Resource {
        uri: String,
    }
    Some(serde_json::from_str::<Resource>(call.params?.get()).ok()?.uri)
}

/// Tells the peer that nobody waits for the answer to a request.
fn cancellation(id: u64) -> Bytes {
    let mut text = Vec::new();
    let params = format!(r#"{{"requestId":{id}}}"#);
    write_call(&mut text, None, "notifications/cancelled", Some(params.as_bytes()));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(replays: &mut Replays, text: &str) -> Noted {
        replays.note(&Call::parse(text.as_bytes()).unwrap(), None)
    }

    fn subscribe(uri: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{{"uri":"{uri}"}}}}"#)
    }

    const LISTEN: &str = r#"{"jsonrpc":"2.0","id":5,"method":"subscriptions/listen","params":{"notifications":{}}}"#;

    #[test]
    fn a_legacy_server_is_told_the_level_and_what_is_subscribed() {
        let mut replays = Replays::default();
        for uri in ["b", "a", "b", "c"] {
            assert_eq!(note(&mut replays, &subscribe(uri)), Noted::AsItIs);
        }
        note(
            &mut replays,
            r#"{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"b"}}"#,
        );
        for level in ["debug", "error"] {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#);
            note(&mut replays, &text);
        }
        let told: Vec<_> = replays
            .legacy()
            .into_iter()
            .map(|(method, params)| (method, params.to_string()))
            .collect();
        let expected = [
            ("logging/setLevel", r#"{"level":"error"}"#),
            ("resources/subscribe", r#"{"uri":"a"}"#),
            ("resources/subscribe", r#"{"uri":"c"}"#),
        ];
        assert_eq!(told, expected.map(|(method, params)| (method, params.to_owned())));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut replays = Replays::default();
        for n in 0..Replays::SUBSCRIPTIONS {
            assert_eq!(note(&mut replays, &subscribe(&n.to_string())), Noted::AsItIs);
        }
        assert_eq!(note(&mut replays, &subscribe("more")), Noted::Forgotten);
        assert_eq!(note(&mut replays, &subscribe("7")), Noted::AsItIs, "that one is known");
        assert_eq!(
            note(&mut Replays::default(), &subscribe(&"x".repeat(2 << 20))),
            Noted::Forgotten
        );
        for _ in 0..Replays::LISTENS {
            assert_eq!(note(&mut replays, LISTEN), Noted::AsItIs);
        }
        assert_eq!(note(&mut replays, LISTEN), Noted::Forgotten);
    }

    #[test]
    fn a_listen_lives_on_under_a_new_id() {
        let mut replays = Replays::default();
        let ticket = Ticket::tagged(5);
        assert_eq!(
            replays.note(&Call::parse(LISTEN.as_bytes()).unwrap(), Some(&ticket)),
            Noted::AsItIs
        );
        assert!(ticket.mark_sent());
        replays.lost();
        assert_eq!(ticket.phase(), Phase::Held);

        let again = replays.modern(|| 9);
        assert_eq!(again[0].0, 9);
        assert_eq!(
            again[0].1.as_ref().map(|params| params.get()),
            Some(r#"{"notifications":{}}"#)
        );
        assert_eq!(replays.hearer(9).unwrap().original, Some(5));
        assert!(replays.hearer(5).is_none());
        replays.lost();
        assert_eq!(replays.modern(|| 11).len(), 1, "it is still wanted");

        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
        let Noted::Instead(text) = note(&mut replays, cancel) else {
            panic!("it has another id here");
        };
        assert_eq!(text, cancellation(11));
        assert!(!replays.listens());
        assert_eq!(note(&mut replays, cancel), Noted::AsItIs);
    }

    #[test]
    fn a_listen_that_ended_or_that_nobody_wants_is_not_begun_again() {
        let mut replays = Replays::default();
        note(&mut replays, LISTEN);
        replays.modern(|| 9);
        assert_eq!(replays.ended(9), Some(5));
        assert_eq!(replays.ended(9), None);

        let ticket = Ticket::new();
        replays.note(&Call::parse(LISTEN.as_bytes()).unwrap(), Some(&ticket));
        let _ = ticket.mark_sent();
        let _ = ticket.cancel();
        assert_eq!(replays.given_up(), [cancellation(5)]);
        assert!(!replays.listens());

        // The one that was never sent is not its business.
        replays.note(&Call::parse(LISTEN.as_bytes()).unwrap(), Some(&Ticket::new()));
        replays.lost();
        assert!(!replays.listens());
    }
}
