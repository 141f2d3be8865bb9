//! What has been seen of a session, as far back as a screen shows it. No I/O.

use std::collections::VecDeque;

use super::record::{Change, Second};
use crate::report;

/// As many seconds are kept: what the bar of up and down shows.
pub(super) const HOUR: usize = 3600;

/// As many events are kept: more than the largest terminal has lines.
const EVENTS: usize = 500;

#[derive(Default)]
pub(super) struct History {
    /// The latest comes last.
    moments: VecDeque<Moment>,
    /// The same, whole, and what changed: to be made a page of.
    seconds: VecDeque<Second>,
    changes: VecDeque<Change>,
    last: Second,
    /// The latest comes first.
    events: VecDeque<Event>,
    /// Since when it is down, in seconds since 1970.
    down_since: Option<f64>,
    outages: u32,
    /// The longest that is over.
    longest: f64,
    /// Dials since this began, and in this outage.
    dials: u32,
    dials_of_outage: u32,
}

/// What is kept of a second.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) at: f64,
    pub(super) up: bool,
    /// The last round trip, in milliseconds.
    pub(super) round_trip: Option<f64>,
    /// Messages since the second before, in and out.
    pub(super) messages: [u64; 2],
    /// The same in bytes.
    pub(super) bytes: [u64; 2],
    /// How long it took.
    pub(super) passed: f64,
}

/// Something that happened, in words.
pub(super) struct Event {
    pub(super) at: f64,
    pub(super) what: &'static str,
    pub(super) text: String,
}

/// Since this program began to watch.
pub(super) struct Outages {
    pub(super) number: u32,
    /// In seconds; one that goes on counts.
    pub(super) longest: f64,
    pub(super) dials: u32,
    /// How much of the time that is kept it was up, of 1.
    pub(super) up: f64,
}

impl History {
    pub(super) fn second(&mut self, second: Second) {
        // The first one has none before it to be compared with.
        let before = if self.moments.is_empty() { &second } else { &self.last };
        let moment = Moment {
            at: second.at,
            up: second.is_up(),
            round_trip: second.last.filter(|_| second.is_up()),
            messages: [
                second.messages_in.saturating_sub(before.messages_in),
                second.messages_out.saturating_sub(before.messages_out),
            ],
            bytes: [
                second.bytes_in.saturating_sub(before.bytes_in),
                second.bytes_out.saturating_sub(before.bytes_out),
            ],
            passed: (second.at - before.at).max(0.001),
        };
        keep(&mut self.moments, moment, HOUR);
        keep(&mut self.seconds, second.clone(), HOUR);
        self.last = second;
    }

    pub(super) fn change(&mut self, change: &Change) {
        keep(&mut self.changes, change.clone(), EVENTS);
        let cause = change.cause.clone().unwrap_or_default();
        let was_up = self.down_since.is_none();
        if was_up && change.state != "connected" {
            self.down_since = Some(change.at);
            self.outages += 1;
            self.dials_of_outage = 0;
        }
        match change.state.as_str() {
            "connected" => {
                let took = self.down_since.take().map_or(0.0, |since| change.at - since);
                self.longest = self.longest.max(took);
                let (epoch, dials) = (change.epoch, self.dials_of_outage);
                let text = format!("connection {epoch} after {}, dials: {dials}", span(took));
                self.event(change.at, "up", text);
            }
            "connecting" => {
                self.dials += 1;
                self.dials_of_outage += 1;
                // The delay before it has been told, and so will be what comes of it.
                if was_up {
                    self.event(change.at, "down", cause);
                }
            }
            "backing_off" => {
                let delay = change
                    .delay
                    .map(|delay| format!("dials again in {}", span(delay / 1000.0)));
                let parts: Vec<_> = delay.into_iter().chain(Some(cause)).collect();
                self.event(change.at, if was_up { "down" } else { "failed" }, parts.join("; "));
            }
            "offline" => self.event(change.at, "offline", "taken offline here; o dials again".to_owned()),
            _ => self.event(change.at, "over", cause),
        }
    }

    pub(super) fn event(&mut self, at: f64, what: &'static str, text: String) {
        self.events.truncate(EVENTS - 1);
        self.events.push_front(Event { at, what, text });
    }

    /// The last one; all zero before the first.
    pub(super) fn last(&self) -> &Second {
        &self.last
    }

    /// The latest first.
    pub(super) fn moments(&self) -> impl Iterator<Item = &Moment> {
        self.moments.iter().rev()
    }

    /// The latest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// For how many seconds it has been down.
    pub(super) fn down_for(&self) -> Option<f64> {
        self.down_since.map(|since| (self.last.at - since).max(0.0))
    }

    /// What `report` would make of the last hour; none before the first second.
    pub(super) fn page(&mut self) -> Option<String> {
        let (seconds, changes) = (self.seconds.make_contiguous(), self.changes.make_contiguous());
        (!seconds.is_empty()).then(|| report::page(seconds, changes))
    }

    pub(super) fn outages(&self) -> Outages {
        let up = self.moments.iter().filter(|moment| moment.up).count();
        Outages {
            number: self.outages,
            longest: self.longest.max(self.down_for().unwrap_or_default()),
            dials: self.dials,
            up: up as f64 / self.moments.len().max(1) as f64,
        }
    }
}

/// The last so many.
fn keep<T>(all: &mut VecDeque<T>, one: T, most: usize) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(one);
}

/// A length of time for people.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: f64, state: &str) -> Change {
        Change {
            at,
            state: state.to_owned(),
            epoch: 2,
            attempt: 1,
            cause: Some("it broke".to_owned()),
            kind: None,
            delay: (state == "backing_off").then_some(900.0),
        }
    }

    fn told(history: &History) -> Vec<String> {
        history
            .events()
            .map(|event| format!("{} {}", event.what, event.text))
            .collect()
    }

    #[test]
    fn an_outage_has_a_length_and_dials() {
        let mut history = History::default();
        for (at, state) in [
            (10.0, "backing_off"),
            (11.0, "connecting"),
            (12.0, "backing_off"),
            (13.0, "connecting"),
            (14.5, "connected"),
        ] {
            history.change(&change(at, state));
        }
        let outages = history.outages();
        assert_eq!((outages.number, outages.dials, outages.longest), (1, 2, 4.5));
        assert_eq!(
            told(&history),
            [
                "up connection 2 after 4.5 s, dials: 2",
                "failed dials again in 0.9 s; it broke",
                "down dials again in 0.9 s; it broke",
            ]
        );
        assert_eq!(history.down_for(), None);
        history.change(&change(20.0, "offline"));
        history.second(Second {
            at: 27.0,
            ..Second::default()
        });
        assert_eq!((history.down_for(), history.outages().longest), (Some(7.0), 7.0));
    }

    #[test]
    fn a_page_is_made_of_what_was_seen() {
        let mut history = History::default();
        assert_eq!(history.page(), None);
        history.change(&change(1.0, "backing_off"));
        history.second(Second::default());
        let page = history.page().unwrap();
        assert!(page.contains("<svg") && page.contains("it broke"), "{page}");
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let mut history = History::default();
        for n in 0..2 * HOUR {
            history.second(Second {
                at: n as f64,
                messages_in: 3 * n as u64,
                ..Second::default()
            });
            history.event(0.0, "probe", n.to_string());
        }
        assert_eq!((history.moments().count(), history.seconds.len()), (HOUR, HOUR));
        assert_eq!(history.events().count(), EVENTS);
        let last = history.moments().next().unwrap();
        assert_eq!((last.messages, last.passed), ([3, 0], 1.0));
        assert_eq!(history.events().next().unwrap().text, (2 * HOUR - 1).to_string());
    }
}
