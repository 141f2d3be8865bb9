//! What a client is told to do, and what it reports: the protocol between the runner and a client's process.
//!
//! A client gets `--settings`, `--url` and `--work` (a [`Work`] as JSON), writes [`Event`]s to standard output, one
//! line of JSON each, and is killed in the end.

use serde::{Deserialize, Serialize};

/// What a client does once it is connected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Work {
    /// So many calls (or messages that the server acknowledges), numbered from 1. None waits for another.
    pub(crate) calls: u64,
    /// Between two of them; 0 is all at once.
    pub(crate) every_ms: u64,
    /// So many letters in each.
    pub(crate) pad: usize,
    /// The calls may be executed twice, as those of a method that reads.
    pub(crate) safe: bool,
    /// Not calls but messages without an answer, one after the other, as fast as the client takes them, at most one
    /// each millisecond.
    pub(crate) feed: bool,
    /// Subscribes to what the server pushes.
    pub(crate) pushes: bool,
    /// What the application does with each push takes so long.
    pub(crate) handling_ms: u64,
    /// Shows a credential, which the server may ask to have renewed. Each time that one is asked for there is a new
    /// one: `token-1`, `token-2` and so on.
    pub(crate) token: bool,
}

/// What a client reports.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A connection is up, as far as the client lets its user know.
    Up,
    /// It is gone.
    Down {
        /// The client's own words.
        why: String,
    },
    /// The client has given up: there will be no other connection.
    Over {
        /// The client's own words.
        why: String,
    },
    /// A call was made.
    Sent {
        /// Its number.
        n: u64,
    },
    /// It was answered.
    Answered {
        /// Its number.
        n: u64,
    },
    /// It was not, and the client said so.
    Failed {
        /// Its number.
        n: u64,
        /// The client's own words.
        why: String,
    },
    /// So many pushes have come so far.
    Pushed {
        /// They were handed to the application.
        count: u64,
        /// They were not, and the application was told.
        told: u64,
        /// They came after one that the server sent later.
        disordered: u64,
    },
    /// The client asked for a credential.
    Asked,
}
