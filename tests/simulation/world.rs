//! What everybody in a simulated world can see, and what the test keeps of it.

use std::{
    collections::BTreeMap,
    env,
    fmt::{Debug, Write},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::watch;

/// How the server receives whoever comes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Good,
    /// Accepts TCP, and closes.
    Drops,
    /// Accepts TCP, and never says a word.
    Mute,
    /// Answers the handshake with a status, and perhaps the seconds to wait.
    Refuses(u16, Option<u64>),
    /// Completes the handshake, and closes without a word.
    Fleeting,
    /// Answers pings, and applies what comes, but answers no call.
    Deaf,
}

/// What the client says of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The server answered.
    Answered,
    /// It was written, or taken; nobody answers such messages.
    Taken,
    /// Not a byte was sent.
    Unsent,
    /// The server may have seen it.
    Unknown,
    /// The caller lost interest.
    Cancelled,
}

#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) safe: bool,
    pub(crate) end: Option<End>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Of each server that is not good.
    pub(crate) moods: BTreeMap<&'static str, Mood>,
    /// The servers remember what they have applied, and apply nothing twice.
    pub(crate) remembers: bool,
    /// The token that is good now.
    pub(crate) token: u64,
    /// What the client has made, by number.
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// How often the server applied each.
    pub(crate) applied: BTreeMap<u64, usize>,
    /// What is sent by one task, one after the other, and not answered: as it arrives on each connection.
    pub(crate) told: Vec<Vec<u64>>,
    /// Since when the newest connection is there.
    pub(crate) received: Duration,
    /// When the client dialled.
    pub(crate) dials: Vec<Duration>,
    /// By how many seconds the clock on the client's wall is wrong.
    pub(crate) clock: i64,
    /// From the last fault until an answer.
    pub(crate) recovered: Option<Duration>,
    next: u64,
    log: String,
}

impl State {
    pub(crate) fn mood(&self, server: &str) -> Mood {
        self.moods.get(server).copied().unwrap_or_default()
    }

    /// A connection is there, for longer than it takes to be healthy.
    pub(crate) fn has_lasted(&self, now: Duration) -> bool {
        now.saturating_sub(self.received) > Duration::from_secs(6)
    }
}

/// Shared by the hosts of a world, and the test.
#[derive(Clone, Debug)]
pub(crate) struct World {
    seed: u64,
    state: Arc<Mutex<State>>,
    /// The close code with which the server sends everybody away, and how often it has.
    kicks: watch::Sender<(u64, Option<u16>)>,
    floods: watch::Sender<usize>,
    loud: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            state: Arc::default(),
            kicks: watch::Sender::new((0, None)),
            floods: watch::Sender::new(0),
            loud: env::var_os("SEED").is_some(),
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A message that nobody else has made.
    pub(crate) fn number(&self, safe: bool) -> u64 {
        let mut state = self.open();
        state.next += 1;
        let number = state.next;
        state.sent.insert(number, Sent { safe, end: None });
        number
    }

    pub(crate) fn ended(&self, number: u64, end: End) {
        let before = self.open().sent.get_mut(&number).unwrap().end.replace(end);
        assert_eq!(before, None, "message {number} ends twice");
    }

    pub(crate) fn apply(&self, number: u64) {
        let mut state = self.open();
        let remembers = state.remembers;
        let times = state.applied.entry(number).or_default();
        *times = if remembers { 1 } else { *times + 1 };
    }

    /// A client has come. Which connection it is.
    pub(crate) fn receive(&self, now: Duration) -> usize {
        let mut state = self.open();
        state.received = now;
        state.told.push(Vec::new());
        state.told.len() - 1
    }

    /// How many have come so far.
    pub(crate) fn connections(&self) -> usize {
        self.open().told.len()
    }

    /// Sends everybody away, with a close code or without a word.
    pub(crate) fn kick(&self, code: Option<u16>) {
        self.kicks.send_modify(|kick| *kick = (kick.0 + 1, code));
    }

    pub(crate) fn kicks(&self) -> watch::Receiver<(u64, Option<u16>)> {
        self.kicks.subscribe()
    }

    /// Says so many things of the server's own accord, at once, on each connection.
    pub(crate) fn flood(&self, pushes: usize) {
        self.floods.send_replace(pushes);
    }

    pub(crate) fn floods(&self) -> watch::Receiver<usize> {
        self.floods.subscribe()
    }

    pub(crate) fn log(&self, at: Duration, what: &impl Debug) {
        if self.loud {
            eprintln!("{:>8.2} s  {what:?}", at.as_secs_f64());
        }
        let _ = writeln!(self.open().log, "{at:?} {what:?}");
    }

    /// All that may differ between two worlds.
    pub(crate) fn fingerprint(&self) -> String {
        let state = self.open();
        format!(
            "{}\n{:?}\n{:?}\n{:?}\n{:?}",
            state.log, state.sent, state.applied, state.told, state.dials
        )
    }
}
