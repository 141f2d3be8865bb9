//! What waits for the connection: one bounded place for each kind. No I/O, no clock.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower_ws_core::{Replay, Ticket, jsonrpc::write_call};

use crate::request::Request;

/// | kind | most | what is too much |
/// |---|---|---|
/// | calls, notifications | the client's `max_calls`; of notifications [`NOTIFICATION_BYTES`](Self::NOTIFICATION_BYTES) | the caller waits for room |
/// | answers to the peer | [`ANSWERS`](Self::ANSWERS), and less than [`ANSWER_BYTES`](Self::ANSWER_BYTES) before the last | is dropped: the peer asks, and does not read |
/// | control messages | [`CONTROL`](Self::CONTROL), and less than [`CONTROL_BYTES`](Self::CONTROL_BYTES) before the last | is dropped, likewise |
/// | cancellations | [`CANCELLATIONS`](Self::CANCELLATIONS) | the oldest is dropped |
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Where messages are written; each is split off.
    arena: BytesMut,
    /// Calls, notifications and answers, in order.
    queue: VecDeque<Entry>,
    /// How many calls in the queue nobody waits for any more.
    abandoned: usize,
    answers: Weight,
    /// Ahead of the queue: what is worth sending only now.
    control: VecDeque<Bound>,
    control_weight: Weight,
    /// Calls that were sent and that nobody waits for any more: the peer is to be told.
    cancellations: VecDeque<u64>,
    /// No notification's time is up before this. It may be out of date, never too late.
    earliest: Option<Instant>,
}

/// A message on its way to the connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) body: Body,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) deadline: Option<Instant>,
    /// Of a notification: for itself, and for its bytes.
    pub(crate) _permits: Option<[OwnedSemaphorePermit; 2]>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Call(Written),
    Answer(Bound),
}

/// A call or a notification as the message that it becomes.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) text: Bytes,
    pub(crate) replay: Replay,
    timeout: Option<Duration>,
}

/// A text that makes sense in one epoch only: an answer to a request that came in then.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) epoch: u64,
    pub(crate) text: Bytes,
}

/// A control message that is to go next.
#[derive(Debug)]
pub(crate) enum Control {
    Answer(Bound),
    /// Nobody waits for the answer to this call any more.
    Cancellation(u64),
}

#[derive(Debug, Default)]
struct Weight {
    count: usize,
    bytes: usize,
}

impl Outbox {
    /// 16 MiB, the largest message that the transport takes. Calls are not counted: whoever waits
    /// for one holds it anyway.
    pub(crate) const NOTIFICATION_BYTES: usize = 16 << 20;
    /// More than a peer asks at once.
    const ANSWERS: usize = 1024;
    /// 16 MiB, the largest message that the transport takes.
    const ANSWER_BYTES: usize = 16 << 20;
    /// More than a connection takes at a time.
    const CONTROL: usize = 64;
    /// 64 KiB: a pong is small, unless its id is not.
    const CONTROL_BYTES: usize = 64 << 10;
    /// As many as calls by default: eight bytes each.
    const CANCELLATIONS: usize = 4096;

    /// How much room is made for messages at most, but for one that is larger.
    const ARENA: usize = 16 << 10;
    /// What the envelope of a call takes at most, beside its method and parameters.
    const ENVELOPE: usize = 96;

    /// How much room a notification takes: all of it, if it is larger than that.
    pub(crate) fn notification_bytes(request: &Request) -> u32 {
        u32::try_from(Self::most(request).min(Self::NOTIFICATION_BYTES)).unwrap_or(u32::MAX)
    }

    /// How many bytes it has as a message, at most.
    fn most(request: &Request) -> usize {
        request.method.len() + request.params_text().map_or(0, <[u8]>::len) + Self::ENVELOPE
    }

    /// Writes a call, or with no id a notification.
    pub(crate) fn write(&mut self, id: Option<u64>, request: &Request) -> Written {
        let room = Self::most(request);
        let text = match room > Self::ARENA {
            // A block of its own, or the arena would keep it.
            true => write_into(&mut BytesMut::with_capacity(room), id, request),
            false => {
                // Only if there is too little: as long as somebody keeps what is in the block,
                // asking for more makes a new one. The more there is to write, the more comes.
                if self.arena.capacity() < room {
                    self.arena.reserve((room * (self.queue.len() + 1)).min(Self::ARENA));
                }
                write_into(&mut self.arena, id, request)
            }
        };
        Written {
            text,
            replay: request.replay,
            timeout: request.timeout,
        }
    }

    /// Adds a call or a notification. True if the queue was empty.
    pub(crate) fn push(&mut self, entry: Entry) -> bool {
        if entry.ticket.is_none()
            && let Some(deadline) = entry.deadline
            && self.earliest.is_none_or(|earliest| deadline < earliest)
        {
            self.earliest = Some(deadline);
        }
        self.queue.push_back(entry);
        self.queue.len() == 1
    }

    /// Adds an answer of the application's. False if there is no room for it.
    #[must_use]
    pub(crate) fn push_answer(&mut self, answer: Bound) -> bool {
        if !self.answers.has_room(Self::ANSWERS, Self::ANSWER_BYTES) {
            return false;
        }
        self.answers.add(&answer);
        self.queue.push_back(Entry {
            body: Body::Answer(answer),
            ticket: None,
            deadline: None,
            _permits: None,
        });
        true
    }

    /// Adds an answer that is worth sending only now. False if there is no room for it.
    #[must_use]
    pub(crate) fn push_control(&mut self, answer: Bound) -> bool {
        let room = self.control_weight.has_room(Self::CONTROL, Self::CONTROL_BYTES);
        if room {
            self.control_weight.add(&answer);
            self.control.push_back(answer);
        }
        room
    }

    /// The peer is to be told that nobody waits for this call any more.
    pub(crate) fn cancel(&mut self, id: u64) {
        if self.cancellations.len() >= Self::CANCELLATIONS {
            self.cancellations.pop_front();
        }
        self.cancellations.push_back(id);
    }

    /// The control message that goes next.
    pub(crate) fn pop_control(&mut self) -> Option<Control> {
        if let Some(answer) = self.control.pop_front() {
            self.control_weight.remove(&answer);
            return Some(Control::Answer(answer));
        }
        self.cancellations.pop_front().map(Control::Cancellation)
    }

    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty() || !self.cancellations.is_empty()
    }

    /// Fills `batch` up to `most` entries of the queue.
    pub(crate) fn take(&mut self, batch: &mut VecDeque<Entry>, most: usize) {
        let more = most.saturating_sub(batch.len()).min(self.queue.len());
        for entry in self.queue.drain(..more) {
            if let Body::Answer(answer) = &entry.body {
                self.answers.remove(answer);
            }
            batch.push_back(entry);
        }
        if self.queue.is_empty() {
            self.abandoned = 0;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.has_control()
    }

    /// A call whose message was not sent was given up: most of the queue may be, during an outage,
    /// and all of it is memory.
    pub(crate) fn abandoned(&mut self) {
        self.abandoned += 1;
        if self.abandoned > 32 && self.abandoned * 2 > self.queue.len() {
            self.queue
                .retain(|entry| !entry.ticket.as_ref().is_some_and(Ticket::is_cancelled));
            self.abandoned = 0;
        }
    }

    /// The connection is gone: takes out what made sense on that one only. Returns how many answers
    /// of the application's that were.
    pub(crate) fn lost(&mut self, batch: &mut VecDeque<Entry>) -> usize {
        self.control.clear();
        self.control_weight = Weight::default();
        self.cancellations.clear();
        self.answers = Weight::default();
        let before = self.queue.len() + batch.len();
        let stays = |entry: &Entry| !matches!(entry.body, Body::Answer(_));
        self.queue.retain(stays);
        batch.retain(stays);
        before - self.queue.len() - batch.len()
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Takes out the notifications whose time is up. The driver has some of them in its batch.
    pub(crate) fn expire(&mut self, now: Instant, batch: &mut VecDeque<Entry>) -> Vec<Request> {
        let mut expired = Vec::new();
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return expired;
        }
        self.earliest = None;
        for queue in [batch, &mut self.queue] {
            let is_late = |entry: &mut Entry| {
                let deadline = entry.deadline.filter(|_| entry.ticket.is_none());
                let is_late = deadline.is_some_and(|deadline| deadline <= now);
                if let Some(deadline) = deadline.filter(|_| !is_late) {
                    let earliest = self.earliest.get_or_insert(deadline);
                    *earliest = deadline.min(*earliest);
                }
                is_late
            };
            let late = extract(queue, is_late);
            expired.extend(late.into_iter().filter_map(Entry::into_request));
        }
        expired
    }

    /// The session is over: what was never sent, in order.
    pub(crate) fn end(&mut self) -> VecDeque<Entry> {
        std::mem::take(self).queue
    }
}

impl Entry {
    /// The request, if somebody may still want it sent.
    pub(crate) fn into_request(self) -> Option<Request> {
        match self.body {
            Body::Call(call) if !self.ticket.is_some_and(|ticket| ticket.is_cancelled()) => call.into_request(),
            _ => None,
        }
    }
}

impl Written {
    fn into_request(self) -> Option<Request> {
        let request = Request::from_text(&self.text, self.replay)?;
        Some(Request {
            timeout: self.timeout,
            ..request
        })
    }
}

impl Weight {
    fn has_room(&self, count: usize, bytes: usize) -> bool {
        self.count < count && self.bytes < bytes
    }

    fn add(&mut self, answer: &Bound) {
        self.count += 1;
        self.bytes += answer.text.len();
    }

    fn remove(&mut self, answer: &Bound) {
        self.count -= 1;
        self.bytes -= answer.text.len();
    }
}

fn write_into(block: &mut BytesMut, id: Option<u64>, request: &Request) -> Bytes {
    write_call(block, id, &request.method, request.params_text());
    block.split().freeze()
}

/// Takes out the entries that `wanted` is true of, and keeps the order of the others.
fn extract(queue: &mut VecDeque<Entry>, mut wanted: impl FnMut(&mut Entry) -> bool) -> Vec<Entry> {
    let mut taken = Vec::new();
    for _ in 0..queue.len() {
        if let Some(mut entry) = queue.pop_front() {
            match wanted(&mut entry) {
                true => taken.push(entry),
                false => queue.push_back(entry),
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(bytes: usize) -> Bound {
        Bound {
            epoch: 1,
            text: vec![b'x'; bytes].into(),
        }
    }

    fn notification(outbox: &mut Outbox, deadline: Instant) -> Entry {
        Entry {
            body: Body::Call(outbox.write(None, &Request::new("n"))),
            ticket: None,
            deadline: Some(deadline),
            _permits: None,
        }
    }

    #[test]
    fn a_request_comes_back_as_it_was_given() {
        let request = Request::new("a \"method\"")
            .params(&["b"])
            .unwrap()
            .replay(Replay::Safe)
            .timeout(Duration::from_secs(7));
        let back = Outbox::default().write(Some(1), &request).into_request().unwrap();
        assert_eq!(
            (back.method(), back.params_text()),
            (request.method(), request.params_text())
        );
        assert_eq!((back.replay, back.timeout), (request.replay, request.timeout));
    }

    #[test]
    fn what_is_kept_holds_little_of_what_is_not() {
        let mut outbox = Outbox::default();
        let kept: Vec<_> = (0..100)
            .map(|id| outbox.write(Some(id), &Request::new("a")).text)
            .collect();
        let used: usize = kept.iter().map(Bytes::len).sum();
        assert!(
            outbox.arena.capacity() < used,
            "one at a time: {}",
            outbox.arena.capacity()
        );
    }

    #[test]
    fn each_kind_is_bounded_in_number_and_in_bytes() {
        for (bytes, most) in [(1, Outbox::CONTROL), (Outbox::CONTROL_BYTES, 1)] {
            let mut outbox = Outbox::default();
            let taken = (0..2000).filter(|_| outbox.push_control(answer(bytes))).count();
            assert_eq!(taken, most);
            // Room that comes free is room.
            assert!(outbox.pop_control().is_some());
            assert!(outbox.push_control(answer(1)));
        }
        for (bytes, most) in [(1, Outbox::ANSWERS), (Outbox::ANSWER_BYTES, 1)] {
            let mut outbox = Outbox::default();
            let taken = (0..2000).filter(|_| outbox.push_answer(answer(bytes))).count();
            assert_eq!(taken, most);
            outbox.take(&mut VecDeque::new(), 1);
            assert!(outbox.push_answer(answer(1)));
        }
        let mut outbox = Outbox::default();
        (0..=Outbox::CANCELLATIONS as u64).for_each(|id| outbox.cancel(id));
        assert_eq!(outbox.cancellations.len(), Outbox::CANCELLATIONS);
    }

    #[test]
    fn late_notifications_are_taken_out_wherever_they_are() {
        let mut outbox = Outbox::default();
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        for seconds in [3, 1, 2] {
            let entry = notification(&mut outbox, now + second * seconds);
            outbox.push(entry);
        }
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 2);
        assert!(outbox.expire(now, &mut batch).is_empty());
        assert_eq!(outbox.earliest(), Some(now + second));
        assert_eq!(outbox.expire(now + second * 2, &mut batch).len(), 2);
        assert_eq!((batch.len(), outbox.queue.len()), (1, 0));
        assert_eq!(outbox.earliest(), Some(now + second * 3));
    }

    #[test]
    fn a_lost_connection_takes_along_what_was_for_it() {
        let mut outbox = Outbox::default();
        assert!(outbox.push_answer(answer(1)) && outbox.push_answer(answer(1)) && outbox.push_control(answer(1)));
        let entry = notification(&mut outbox, Instant::now());
        outbox.push(entry);
        outbox.cancel(7);
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 1);
        assert_eq!(outbox.lost(&mut batch), 2);
        assert!(batch.is_empty() && !outbox.has_control());
        assert_eq!(outbox.queue.len(), 1);
    }

    /// In an outage calls are given up by the thousand, and others still wait.
    #[test]
    fn what_nobody_waits_for_makes_room_once_it_is_most_of_the_queue() {
        let mut outbox = Outbox::default();
        let push = |outbox: &mut Outbox| {
            let ticket = Ticket::new();
            let mut entry = notification(outbox, Instant::now());
            entry.ticket = Some(ticket.clone());
            outbox.push(entry);
            ticket
        };
        let given_up: Vec<_> = (0..60).map(|_| push(&mut outbox)).collect();
        let _waits: Vec<_> = (0..60).map(|_| push(&mut outbox)).collect();
        for (n, ticket) in given_up.iter().enumerate() {
            assert_eq!(outbox.queue.len(), 120, "after {n}: not for few of them");
            let _ = ticket.cancel();
            outbox.abandoned();
        }
        assert_eq!((outbox.queue.len(), outbox.abandoned), (120, 60), "half is not most");
        let one_more = outbox.queue[100].ticket.clone().unwrap();
        let _ = one_more.cancel();
        outbox.abandoned();
        assert_eq!((outbox.queue.len(), outbox.abandoned), (59, 0));
        assert!(
            outbox
                .queue
                .iter()
                .all(|entry| !entry.ticket.as_ref().unwrap().is_cancelled())
        );
    }

    #[test]
    fn room_is_counted_in_bytes_when_it_comes_free_too() {
        let mut outbox = Outbox::default();
        let half = Outbox::CONTROL_BYTES / 2;
        assert!(outbox.push_control(answer(half)) && outbox.push_control(answer(half)));
        assert!(!outbox.push_control(answer(1)));
        assert!(outbox.pop_control().is_some());
        // Half of it is free: not all, and not nothing.
        assert!(outbox.push_control(answer(half)) && !outbox.push_control(answer(1)));
    }

    #[test]
    fn at_the_end_what_was_never_sent_is_handed_over_in_order() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        for second in 0..3 {
            let entry = notification(&mut outbox, now + Duration::from_secs(second));
            outbox.push(entry);
        }
        let left: Vec<_> = outbox.end().into_iter().map(|entry| entry.deadline).collect();
        let expected: Vec<_> = (0..3).map(|second| Some(now + Duration::from_secs(second))).collect();
        assert_eq!(left, expected);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_cancellation_alone_is_something_to_write() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty() && !outbox.has_control());
        outbox.cancel(7);
        assert!(!outbox.is_empty() && outbox.has_control());
        assert!(matches!(outbox.pop_control(), Some(Control::Cancellation(7))));
        assert!(outbox.push_control(answer(1)) && outbox.has_control() && !outbox.is_empty());
    }
}
