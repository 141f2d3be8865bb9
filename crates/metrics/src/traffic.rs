use std::sync::{Arc, Mutex, PoisonError};

use metrics::Counter;
use tower_ws_core::{DropReason, Lane};

use crate::{
    names::TRAFFIC,
    register::{Family, Labels, OTHER, Scope},
};

/// How many kinds of messages have counters of their own.
const MAX_KINDS: usize = 16;

/// The counters of all messages at one height with the same label.
pub(crate) struct Meters {
    scope: Scope,
    /// Which kinds there are, only the messages tell.
    kinds: Mutex<Vec<Arc<Kind>>>,
    dropped: Family,
    dropped_control: Family,
}

struct Kind {
    word: &'static str,
    received: Volume,
    sent: Volume,
    sent_control: Volume,
}

struct Volume {
    messages: Counter,
    bytes: Counter,
}

/// What counts the messages of one connection.
pub(crate) struct Traffic {
    meters: Arc<Meters>,
    /// The kinds seen on it: a handful, so a search along the line is the fastest map.
    kinds: Vec<(&'static str, Arc<Kind>)>,
    /// Which of them the last message was.
    last: usize,
}

/// What the measure says of a message.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) kind: &'static str,
    pub(crate) bytes: u64,
}

// === impl Meters ===

impl Meters {
    pub(crate) fn new(scope: Scope) -> Self {
        scope.describe(TRAFFIC);
        let dropped = |lane| scope.family("messages_dropped_total", &[("lane", lane)], "reason", DropReason::NAMES);
        Self {
            dropped: dropped("normal"),
            dropped_control: dropped("control"),
            kinds: Mutex::default(),
            scope,
        }
    }

    fn kind(&self, word: &'static str) -> Arc<Kind> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |kinds: &[Arc<Kind>], word| kinds.iter().find(|kind| kind.word == word).cloned();
        if let Some(kind) = find(&kinds, word) {
            return kind;
        }
        let word = if kinds.len() < MAX_KINDS { word } else { OTHER };
        find(&kinds, word).unwrap_or_else(|| {
            let kind = Arc::new(Kind::new(&self.scope, word));
            kinds.push(kind.clone());
            kind
        })
    }
}

// === impl Kind ===

impl Kind {
    fn new(scope: &Scope, word: &'static str) -> Self {
        let volume = |messages, bytes, labels: Labels<'_>| Volume {
            messages: scope.counter(messages, labels),
            bytes: scope.counter(bytes, labels),
        };
        let kind = ("kind", word);
        let sent = |lane| volume("messages_sent_total", "sent_bytes_total", &[kind, ("lane", lane)]);
        Self {
            word,
            received: volume("messages_received_total", "received_bytes_total", &[kind]),
            sent: sent("normal"),
            sent_control: sent("control"),
        }
    }
}

// === impl Volume ===

impl Volume {
    fn count(&self, size: Size) {
        self.messages.increment(1);
        self.bytes.increment(size.bytes);
    }
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self {
            meters,
            kinds: Vec::new(),
            last: 0,
        }
    }

    pub(crate) fn received(&mut self, size: Size) {
        self.kind(size.kind).received.count(size);
    }

    pub(crate) fn sent(&mut self, lane: Lane, size: Size) {
        let kind = self.kind(size.kind);
        match lane {
            Lane::Normal => kind.sent.count(size),
            Lane::Control => kind.sent_control.count(size),
        }
    }

    pub(crate) fn dropped(&self, lane: Lane, reason: &DropReason) {
        match lane {
            Lane::Normal => self.meters.dropped.count(reason.as_str()),
            Lane::Control => self.meters.dropped_control.count(reason.as_str()),
        }
    }

    fn kind(&mut self, word: &'static str) -> &Kind {
        // Nearly always it is the same word as before, and not only an equal one.
        if self
            .kinds
            .get(self.last)
            .is_some_and(|(known, _)| std::ptr::eq(*known, word))
        {
            return &self.kinds[self.last].1;
        }
        let seen = self.kinds.iter().position(|(known, _)| *known == word);
        self.last = seen.unwrap_or_else(|| {
            // A measure with more words than there is room for pays with a lock for each message.
            self.kinds.truncate(MAX_KINDS);
            self.kinds.push((word, self.meters.kind(word)));
            self.kinds.len() - 1
        });
        &self.kinds[self.last].1
    }
}
