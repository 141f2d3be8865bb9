//! The layer and the machine side by side, and the ledgers.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tower_ws_ack::{AckConnection, AckLayer, Handle, Strategy};
use tower_ws_core::{Event, Outgoing, Replay, Ticket, Wrap};
use tower_ws_test_kit::ManualConnection;

use super::{
    Tally,
    machine::{Counts, Item, Machine, Told},
    ops::{Key, Mode, Moment, Op, Protocol, Which},
    peer::{Memory, Peer},
    support::down,
};

/// How long a message may wait for its acknowledgement, in seconds: nothing is sent again later.
pub(crate) const TIMEOUT: u64 = 10;
const WINDOW: usize = 6;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct World<S: Strategy<String, Key = u64>> {
    session: AckConnection<ManualConnection<String>, S>,
    handle: Handle,
    manual: ManualConnection<String>,
    machine: Machine,
    peer: Peer,
    protocol: Protocol,
    strategy: S,
    start: Instant,
    epoch: usize,
    broken: bool,
    next: u64,
    cancelled: BTreeSet<u64>,
    tickets: BTreeMap<u64, Ticket>,
    accepted_at: BTreeMap<u64, u64>,
    keys: BTreeSet<u64>,
    /// How each message ended.
    ends: BTreeMap<u64, &'static str>,
    /// What was written: in which epoch, which number.
    wire: Vec<(usize, u64)>,
    /// How many connections were lost when some of what was to go again had gone.
    in_the_middle: usize,
    deaf: usize,
}

impl<S: Strategy<String, Key = u64> + Clone> World<S> {
    pub(crate) async fn new(protocol: Protocol, strategy: S, memory: Memory) -> Self {
        let (layer, handle) = AckLayer::pair(strategy.clone());
        // What a peer dies of is another story.
        let layer = layer.suspicions(u32::MAX);
        let layer = layer.window(WINDOW, usize::MAX).timeout(SECOND * TIMEOUT as u32);
        let manual = ManualConnection::new();
        let mut world = Self {
            session: layer.wrap(manual.clone()),
            handle,
            manual,
            machine: Machine {
                window: WINDOW,
                ..Machine::default()
            },
            peer: Peer::new(protocol, memory),
            protocol,
            strategy,
            start: Instant::now(),
            epoch: 0,
            broken: false,
            next: 0,
            cancelled: BTreeSet::new(),
            tickets: BTreeMap::new(),
            accepted_at: BTreeMap::new(),
            keys: BTreeSet::new(),
            ends: BTreeMap::new(),
            wire: Vec::new(),
            in_the_middle: 0,
            deaf: 0,
        };
        world.step(Op::Up { takes: 99 }).await;
        world
    }

    pub(crate) async fn step(&mut self, op: Op) {
        match op {
            Op::Send { .. } | Op::Notify(_) if !self.machine.is_ready() => return,
            Op::Send {
                replay,
                key,
                deadline,
                moment,
            } => self.send(replay, key, deadline, moment),
            Op::Notify(moment) => {
                self.next += 1;
                let n = self.next;
                self.hand_over(Outgoing::new(self.protocol.notification(n)), moment);
                match moment {
                    Moment::Calm => {
                        self.machine.wire.push(n);
                        self.machine.room -= 1;
                    }
                    _ => self.machine.told.push(Told::Dropped(n, "disconnected")),
                }
                self.lose(moment);
            }
            Op::Acknowledgement(which) => self.acknowledge(which),
            Op::Takes(room) if self.machine.up && !self.broken => {
                self.manual.takes(room);
                self.machine.room = room;
            }
            Op::Deaf => self.peer.deaf = true,
            Op::Up { takes } if !self.machine.up => {
                self.epoch += 1;
                (self.broken, self.peer.deaf) = (false, false);
                self.manual.up();
                self.manual.takes(takes);
                (self.machine.up, self.machine.room) = (true, takes);
                self.machine.told.push(Told::Up);
            }
            Op::Down { too_big } if self.machine.up => {
                let mut again = self.machine.line.iter().filter(|item| item.due && item.seen);
                let some_went = self.wire.iter().any(|(epoch, _)| *epoch == self.epoch);
                self.in_the_middle += usize::from(again.next().is_some() && some_went);
                self.manual.event(down(true, too_big.then_some(1009)));
                self.manual.takes(0);
                self.machine.down(!too_big);
                self.machine.told.push(Told::Down);
            }
            Op::Stumble(takes) => {
                for op in [
                    Op::Down { too_big: false },
                    Op::Up { takes },
                    Op::Down { too_big: false },
                ] {
                    Box::pin(self.step(op)).await;
                }
            }
            Op::Wait(seconds) => {
                tokio::time::advance(SECOND * seconds as u32).await;
                self.machine.now += seconds;
            }
            Op::Cancel(which) => {
                let open = self.machine.line.iter_mut().filter(|item| !item.cancelled);
                let mut open: Vec<_> = open.collect();
                let among = open.len().max(1);
                if let Some(item) = open.get_mut(which % among) {
                    item.cancelled = true;
                    self.cancelled.insert(item.n);
                    self.tickets[&item.n].cancel();
                }
            }
            Op::Restart => {
                self.peer.restarts();
                return Box::pin(self.step(Op::Down { too_big: false })).await;
            }
            _ => return,
        }
        self.compare();
    }

    fn send(&mut self, replay: Replay, key: Key, deadline: Option<u64>, moment: Moment) {
        self.next += 1;
        let (n, now) = (self.next, self.machine.now);
        let taken = self.taken();
        let key = match key {
            Key::Taken(which) if !taken.is_empty() => taken[which % taken.len()],
            _ => self.protocol.key(n),
        };
        let method = if n.is_multiple_of(3) { "read" } else { "write" };
        let ticket = Ticket::new();
        let request = self.protocol.request(key, n, method);
        let safe = match replay {
            Replay::Unknown => self.strategy.is_safe(&Outgoing::new(request.clone())),
            said => said == Replay::Safe,
        };
        let mut outgoing = Outgoing::new(request).replay(replay).ticket(ticket.clone());
        outgoing.deadline = deadline.map(|after| self.start + SECOND * (now + after) as u32);
        self.tickets.insert(n, ticket);
        self.accepted_at.insert(n, now);
        self.keys.insert(key);
        self.hand_over(outgoing, moment);
        self.machine.accept(Item {
            n,
            key,
            original: key,
            safe,
            until: now + TIMEOUT,
            deadline: deadline.map(|after| now + after),
            seen: false,
            due: true,
            cancelled: false,
        });
        self.lose(moment);
    }

    /// Gives a message to a sink that has just been ready.
    fn hand_over(&mut self, outgoing: Outgoing<String>, moment: Moment) {
        if let Moment::Broken | Moment::Lost | Moment::Stale = moment {
            self.manual.breaks();
            self.manual.takes(0);
            (self.broken, self.machine.room) = (true, 0);
        }
        match moment {
            Moment::Lost => self.manual.event(down(true, None)),
            Moment::Stale => {
                self.manual.event(down(true, None));
                self.machine.down(true);
                self.machine.told.push(Told::Down);
                self.compare();
            }
            _ => {}
        }
        self.session.start_send_unpin(outgoing).unwrap();
    }

    fn lose(&mut self, moment: Moment) {
        if let Moment::Lost = moment {
            self.machine.down(true);
            self.machine.told.push(Told::Down);
        }
    }

    fn acknowledge(&mut self, which: Which) {
        let received = &self.peer.received;
        let under_way = self.machine.line.iter().map(|item| item.key);
        let keys: Vec<u64> = match which {
            Which::UnderWay(_) => under_way.filter(|key| received.contains(key)).collect(),
            Which::Earlier(_) => received.iter().copied().collect(),
            Which::Late(_) => received.intersection(&self.machine.graves).copied().collect(),
            Which::Unsent(_) => {
                let unsent = self.machine.line.iter().filter(|item| !item.seen);
                unsent.map(|item| item.key).collect()
            }
            Which::Unknown => Vec::new(),
        };
        let (Which::UnderWay(at) | Which::Earlier(at) | Which::Late(at) | Which::Unsent(at)) = which else {
            return self.acknowledge_key(0);
        };
        if let Some(&key) = keys.get(at % keys.len().max(1)) {
            self.acknowledge_key(key);
        }
    }

    fn acknowledge_key(&mut self, key: u64) {
        let cumulative = self.protocol == Protocol::Sequence;
        let mut covered = self.machine.line.iter().filter(|item| item.seen && item.key <= key);
        // A peer says what is so.
        let is_so = !cumulative || covered.all(|item| self.peer.received.contains(&item.key));
        if !self.machine.up || !is_so {
            return;
        }
        self.manual.say(self.peer.acknowledgement(key));
        let from = self.machine.told.len();
        let original = self.machine.acknowledged(key, cumulative);
        if let Protocol::Reply | Protocol::FreshIds = self.protocol {
            // The reply speaks for itself.
            for told in self.machine.told.drain(from..) {
                let Told::Delivered(n) = told else { continue };
                assert_eq!(self.ends.insert(n, "acknowledged"), None);
            }
            self.machine.told.push(Told::Reply(original));
        }
    }

    /// The keys that another message cannot have now. Of what was cancelled nobody can say.
    fn taken(&self) -> Vec<u64> {
        let open = self.machine.line.iter().filter(|item| !item.cancelled);
        let open = open.map(|item| item.key);
        let mut graves = self.machine.graves.clone();
        if !self.cancelled.is_empty() {
            graves.clear();
        }
        open.chain(graves).collect()
    }

    /// What the layer wrote and told must be what the machine wrote and told.
    fn compare(&mut self) {
        self.machine.expire();
        self.machine.drain();
        let mut cx = Context::from_waker(Waker::noop());
        let mut told = Vec::new();
        while let Poll::Ready(Some(event)) = self.session.poll_next_unpin(&mut cx) {
            told.push(self.read(event));
            // A writer may come before the reader has moved what goes again.
            if let Poll::Ready(Ok(())) = self.session.poll_ready_unpin(&mut cx) {
                let written = self.manual.sent_after(self.wire.len()).len();
                assert_eq!(written, self.machine.wire.len(), "ready, and something older waits");
            }
        }
        let _ = self.session.poll_flush_unpin(&mut cx);
        self.written();
        for told in &told {
            self.note(told);
        }
        let expected = std::mem::take(&mut self.machine.told);
        assert_eq!(self.sorted(told), self.sorted(expected));
        let ready = matches!(self.session.poll_ready_unpin(&mut cx), Poll::Ready(Ok(())));
        assert_eq!(ready, self.machine.is_ready(), "ready to send");

        let stats = self.handle.snapshot();
        let counts = Counts {
            acked: stats.acked,
            resent: stats.resent,
            interrupted: stats.interrupted,
            expired: stats.expired,
            late: stats.late,
            unmatched: stats.unmatched,
        };
        let kept = self.machine.line.len();
        if self.cancelled.is_empty() {
            assert_eq!((stats.in_flight, counts), (kept, self.machine.counts));
        } else {
            let open = self.machine.line.iter().filter(|item| !item.cancelled).count();
            assert!((open..=kept).contains(&stats.in_flight), "{stats:?}");
            assert_eq!(stats.resent, self.machine.counts.resent);
        }
    }

    fn read(&self, event: Event<String>) -> Told {
        let n = |item: &Outgoing<String>| self.protocol.read(&item.message).1;
        match event {
            Event::Up(_) => Told::Up,
            Event::Down(_) => Told::Down,
            Event::Delivered(item) => Told::Delivered(n(&item)),
            Event::Dropped(item, reason) => Told::Dropped(n(&item), reason.as_str()),
            Event::Message(text) => {
                let reply: serde_json::Value = serde_json::from_str(&text).unwrap();
                Told::Reply(reply["id"].as_u64().unwrap())
            }
            event => panic!("{event:?}"),
        }
    }

    /// What has been written since the last look arrives, or does not.
    fn written(&mut self) {
        let sent = self.manual.sent_after(self.wire.len());
        let new: Vec<_> = sent.iter().map(|text| self.protocol.read(text)).collect();
        let numbers: Vec<u64> = new.iter().map(|(_, n)| *n).collect();
        assert_eq!(numbers, std::mem::take(&mut self.machine.wire), "what is written");
        for (key, n) in new {
            let again = self.wire.iter().any(|(_, before)| *before == n);
            self.wire.push((self.epoch, n));
            let Some(key) = key else { continue };
            assert!(!self.cancelled.contains(&n), "{n} was cancelled");
            assert!(
                self.machine.now < self.accepted_at[&n] + TIMEOUT,
                "{n} goes out when its time is over"
            );
            let item = self.machine.line.iter_mut().find(|item| item.n == n).unwrap();
            if self.protocol == Protocol::FreshIds && again {
                assert!(self.keys.insert(key), "{n} goes again under an id that was used");
                self.machine.graves.insert(std::mem::replace(&mut item.key, key));
            }
            assert_eq!(item.key, key);
            self.deaf += usize::from(self.peer.deaf);
            self.peer.hears(self.machine.now, key, n);
        }
    }

    fn note(&mut self, told: &Told) {
        let (n, end) = match *told {
            Told::Delivered(n) => (n, "acknowledged"),
            Told::Dropped(n, reason) => (n, reason),
            _ => return,
        };
        assert_eq!(self.ends.insert(n, end), None, "{n} ends twice");
        let legal = match end {
            "acknowledged" => self.is_written(n),
            "cancelled" => !self.is_written(n),
            _ => false,
        };
        assert!(!self.cancelled.contains(&n) || legal, "{n} was cancelled: {end}");
    }

    /// When something that was cancelled is let go is nobody's business; what is given up at one
    /// time may come back in any order.
    fn sorted(&self, told: Vec<Told>) -> (Vec<Told>, Vec<Told>) {
        let cancelled = |told: &Told| match told {
            Told::Delivered(n) | Told::Dropped(n, _) => self.cancelled.contains(n),
            _ => false,
        };
        let told = told.into_iter().filter(|told| !cancelled(told));
        let (mut dropped, others): (Vec<_>, Vec<_>) = told.partition(|told| matches!(told, Told::Dropped(..)));
        dropped.sort();
        (dropped, others)
    }

    fn is_written(&self, n: u64) -> bool {
        self.wire.iter().any(|(_, written)| *written == n)
    }

    /// The session ends, in one way or another: nothing is left without a word.
    pub(crate) fn finish(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.next.is_multiple_of(2) {
            // Closing waits for nothing, and gives nothing back before the end.
            assert!(self.session.poll_close_unpin(&mut cx).is_ready());
            self.manual.takes(0);
            self.machine.room = 0;
            self.compare();
        }
        if self.machine.up {
            self.manual.event(down(false, None));
            self.machine.told.push(Told::Down);
        }
        self.manual.end();
        self.machine.end();
        self.compare();
        assert!(matches!(self.session.poll_next_unpin(&mut cx), Poll::Ready(None)));
        assert!(matches!(self.session.poll_ready_unpin(&mut cx), Poll::Ready(Err(_))));
        assert_eq!(self.handle.snapshot().in_flight, 0);
    }

    /// What must hold, may happen and must never happen.
    pub(crate) fn rows(&self, mode: Mode, tally: &Tally) {
        for n in self.tickets.keys() {
            let times = self.wire.iter().filter(|(_, written)| written == n).count();
            let applied = self.peer.applied.get(n).copied().unwrap_or_default();
            match self.ends.get(n).copied() {
                Some("acknowledged") => assert!(applied >= 1, "{n} was acknowledged and had no effect"),
                Some("interrupted") => assert!(times >= 1, "{n} was not written, but: outcome unknown"),
                Some(reason) => assert_eq!((times, applied), (0, 0), "{n} was written, but: {reason}"),
                None => assert!(self.cancelled.contains(n) && times >= 1, "{n} is lost"),
            }
            match mode {
                Mode::AtMostOnce => assert!(times <= 1 && applied <= 1, "{n} went {times} times"),
                Mode::EffectOnce => assert!(applied <= 1, "{n} had {applied} effects"),
                _ => {}
            }
            tally.add(self.ends.get(n).copied().unwrap_or("let go"), 1);
            tally.add("never written", usize::from(times == 0));
            tally.add("written twice", usize::from(times > 1));
            tally.add("applied twice", usize::from(applied > 1));
        }
        for epoch in 1..=self.epoch {
            let written = |&&(at, _): &&(usize, u64)| at == epoch;
            let numbers = self.wire.iter().filter(written).map(|(_, n)| *n);
            let before = |n: &u64| self.wire.iter().any(|(at, written)| *at < epoch && written == n);
            assert!(
                numbers.clone().is_sorted_by(|a, b| a < b),
                "epoch {epoch}: {:?}",
                self.wire
            );
            assert!(
                numbers.filter(before).count() <= WINDOW,
                "more than a window goes again"
            );
        }
        tally.add("acknowledged late", self.handle.snapshot().late as usize);
        tally.add("several connections", usize::from(self.epoch > 1));
        tally.add("lost in the middle of a resend", self.in_the_middle);
        tally.add("lost on the way", self.deaf);
        tally.add("restarted", self.peer.restarts);
    }
}
