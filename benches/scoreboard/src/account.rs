//! What both sides have to say of one run.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::server::{Dial, Ledger};
use crate::work::Event;

/// A call has so long for its answer before the end.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// What the server counted, what the client reported, and what the kernel says of the client's process. All times are
/// counted from the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) ledger: Ledger,
    pub(crate) events: Vec<(Duration, Event)>,
    /// When the client's process ended by itself.
    pub(crate) ended: Option<Duration>,
    /// How much more memory it had than when its connection had come up, in bytes.
    pub(crate) growth: u64,
    /// Of all its threads.
    pub(crate) wakeups_per_second: f64,
}

impl Account {
    /// Dials after the server ended the connection, and within this time of it.
    pub(crate) fn redials(&self, within: Duration) -> Vec<&Dial> {
        let Some(cut) = self.ledger.cut else {
            return Vec::new();
        };
        self.ledger
            .dials
            .iter()
            .filter(|dial| dial.at > cut && dial.at <= cut + within)
            .collect()
    }

    /// When the client had given up, by its own word or by its end.
    pub(crate) fn gave_up(&self) -> Option<Duration> {
        let over = |(at, event): &(Duration, Event)| matches!(event, Event::Over { .. }).then_some(*at);
        self.events.iter().find_map(over).into_iter().chain(self.ended).min()
    }

    /// In its own words, if it gave up.
    pub(crate) fn last_words(&self) -> Option<&str> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Over { why } => Some(why.as_str()),
            _ => None,
        })
    }

    /// When the first call after this time was executed.
    pub(crate) fn served_after(&self, time: Duration) -> Option<Duration> {
        self.ledger
            .applied
            .iter()
            .map(|applied| applied.at)
            .find(|at| *at > time)
    }

    pub(crate) fn sent(&self) -> BTreeSet<u64> {
        self.numbers(|event| matches!(event, Event::Sent { .. }))
    }

    pub(crate) fn answered(&self) -> BTreeSet<u64> {
        self.numbers(|event| matches!(event, Event::Answered { .. }))
    }

    pub(crate) fn failed(&self) -> BTreeSet<u64> {
        self.numbers(|event| matches!(event, Event::Failed { .. }))
    }

    /// Sent so late that they may still be under way.
    pub(crate) fn recent(&self) -> BTreeSet<u64> {
        let end = self.events.iter().map(|(at, _)| *at).max().unwrap_or_default();
        let recent = self.events.iter().filter(|(at, _)| *at + UNDER_WAY > end);
        let sent = recent.filter_map(|(_, event)| match event {
            Event::Sent { n } => Some(*n),
            _ => None,
        });
        sent.collect()
    }

    fn numbers(&self, is: impl Fn(&Event) -> bool) -> BTreeSet<u64> {
        let number = |event: &Event| match event {
            Event::Sent { n } | Event::Answered { n } | Event::Failed { n, .. } => Some(*n),
            _ => None,
        };
        self.events
            .iter()
            .map(|(_, event)| event)
            .filter(|event| is(event))
            .filter_map(number)
            .collect()
    }

    /// When the client said that the connection is gone, or dialled another one.
    pub(crate) fn noticed(&self) -> Option<Duration> {
        let down =
            |(at, event): &(Duration, Event)| matches!(event, Event::Down { .. } | Event::Over { .. }).then_some(*at);
        let said = self.events.iter().find_map(down);
        let dialled = self.ledger.dials.get(1).map(|dial| dial.at);
        said.into_iter().chain(dialled).chain(self.ended).min()
    }

    /// Pushes that were handed over, those of which the application was told that they are missing, and those that came
    /// out of order.
    pub(crate) fn pushed(&self) -> (u64, u64, u64) {
        let pushed = |(_, event): &(Duration, Event)| match event {
            Event::Pushed {
                count,
                told,
                disordered,
            } => Some((*count, *told, *disordered)),
            _ => None,
        };
        self.events.iter().rev().find_map(pushed).unwrap_or_default()
    }
}
