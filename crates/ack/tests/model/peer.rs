//! The peer: what it has received, what it has applied, and for how long it remembers a key.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde_json::{Value, json};

use super::ops::Protocol;

/// What the peer knows of the keys that it has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// For how many seconds; 0: it does not look.
    pub(crate) seconds: u64,
    /// Whether it outlives a restart.
    pub(crate) lasts: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) protocol: Protocol,
    memory: Memory,
    pub(crate) deaf: bool,
    pub(crate) received: BTreeSet<u64>,
    /// How often each number had its effect.
    pub(crate) applied: BTreeMap<u64, usize>,
    pub(crate) restarts: usize,
    /// When it first saw a key.
    since: BTreeMap<u64, u64>,
}

impl Peer {
    pub(crate) fn new(protocol: Protocol, memory: Memory) -> Self {
        Self {
            protocol,
            memory,
            deaf: false,
            received: BTreeSet::new(),
            applied: BTreeMap::new(),
            restarts: 0,
            since: BTreeMap::new(),
        }
    }

    /// A message arrives.
    pub(crate) fn hears(&mut self, now: u64, key: u64, n: u64) {
        if self.deaf {
            return;
        }
        self.received.insert(key);
        self.since.retain(|_, since| now < *since + self.memory.seconds);
        if let Entry::Vacant(unknown) = self.since.entry(key) {
            unknown.insert(now);
            *self.applied.entry(n).or_default() += 1;
        }
    }

    pub(crate) fn restarts(&mut self) {
        self.restarts += 1;
        if !self.memory.lasts {
            self.since.clear();
        }
    }

    pub(crate) fn acknowledgement(&self, key: u64) -> String {
        match self.protocol {
            Protocol::Bare | Protocol::Sequence => format!("ack {key}"),
            _ => json!({ "jsonrpc": "2.0", "id": key, "result": 0 }).to_string(),
        }
    }
}

impl Protocol {
    /// The key of message `n`: with bare acknowledgements in no order, otherwise rising.
    pub(crate) fn key(self, n: u64) -> u64 {
        match self {
            Self::Bare => n * 7919 % 10_007,
            Self::Sequence => n,
            // Fresh ids begin at 1.
            Self::Reply | Self::FreshIds => 1_000_000 + n,
        }
    }

    pub(crate) fn request(self, key: u64, n: u64, method: &str) -> String {
        match self {
            Self::Bare | Self::Sequence => format!("{key} {n}"),
            _ => format!(r#"{{"jsonrpc":"2.0","id":{key},"method":"{method}","params":[{n}]}}"#),
        }
    }

    pub(crate) fn notification(self, n: u64) -> String {
        match self {
            Self::Bare | Self::Sequence => format!("note {n}"),
            _ => format!(r#"{{"jsonrpc":"2.0","method":"note","params":[{n}]}}"#),
        }
    }

    /// The key of a message, if it has one, and its number.
    pub(crate) fn read(self, text: &str) -> (Option<u64>, u64) {
        match self {
            Self::Bare | Self::Sequence => {
                let (key, n) = text.split_once(' ').unwrap();
                (key.parse().ok(), n.parse().unwrap())
            }
            _ => {
                let said: Value = serde_json::from_str(text).unwrap();
                (said["id"].as_u64(), said["params"][0].as_u64().unwrap())
            }
        }
    }
}
