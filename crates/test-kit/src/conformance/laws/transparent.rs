use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Closed, Connection, DropReason, Event, Outgoing};

use crate::conformance::{
    below::{Below, Scripted},
    harness::Harness,
    stack::{Stack, Under},
    suite::{Outcome, Suite, broken},
};

const STEPS: usize = 300;

/// How much of the script a failure shows.
const SHOWN: usize = 12;

impl<L, M> Suite<Stack<L, M>, M>
where
    L: Layer<Under<M>>,
    L::Service: Service<Request<()>, Response: Connection<Message = M> + Send + 'static, Error: Into<BoxError>>,
    M: Clone + Send + 'static,
{
    /// In a random script of polls, the wrapped connection says what the bare one says at each
    /// step, passes the same messages down, and wakes whoever the bare one would have woken.
    ///
    /// With a layer that redials or holds messages: what goes in comes out, complete and in order,
    /// in both directions.
    pub async fn wrapping_is_transparent(&self) -> Outcome {
        self.hold("wrapping_is_transparent", async {
            let strict = !self.traits.redials && !self.traits.holds;
            for seed in self.seeds.clone() {
                let mut rng = self.rng(seed);
                let (connection, peer) = self.harness.connect().await;
                let mut wrapped = Rig::new(self, connection, peer);
                self.at("playing a random script");
                if strict {
                    let (mut below, peer) = Below::new();
                    let connection = Stack::<L, M>::dial::<Below<M>>(&mut below).await;
                    compare(&mut rng, &mut Rig::new(self, connection, peer), &mut wrapped);
                } else {
                    complete(&mut rng, &mut wrapped);
                }
            }
            match strict {
                true => Outcome::Held,
                false => Outcome::Adapted("messages are compared, polls are not: the layer redials or holds messages"),
            }
        })
        .await
    }
}

/// One step of a script.
#[derive(Clone, Copy, Debug)]
enum Op {
    Next,
    Ready,
    Send(u64),
    Control(u64),
    Flush,
    Close,
    PeerSays(u64),
    PeerDrops(u64),
    PeerTakes,
    PeerCuts,
}

impl Op {
    fn random(rng: &mut fastrand::Rng, n: u64, granted: bool, may_end: bool) -> Self {
        match rng.u8(0..64) {
            0 if may_end => Self::Close,
            1 if may_end => Self::PeerCuts,
            2..5 => Self::Control(n),
            5..8 if may_end => Self::PeerDrops(n),
            8..20 if granted => Self::Send(n),
            8..26 => Self::Ready,
            26..32 => Self::Flush,
            32..40 => Self::PeerSays(n),
            40..48 => Self::PeerTakes,
            _ => Self::Next,
        }
    }
}

/// A connection, and two tasks that use it.
struct Rig<'a, H, C, M> {
    suite: &'a Suite<H, M>,
    connection: Pin<Box<C>>,
    peer: Scripted<M>,
    reader: Arc<Task>,
    writer: Arc<Task>,
    granted: bool,
    said: Vec<u64>,
    read: Vec<u64>,
    sent: Vec<u64>,
    arrived: Vec<u64>,
}

#[derive(Default)]
struct Task {
    waits: AtomicBool,
    woken: AtomicBool,
}

fn compare<H, A, B, M>(rng: &mut fastrand::Rng, bare: &mut Rig<'_, H, A, M>, wrapped: &mut Rig<'_, H, B, M>)
where
    A: Connection<Message = M>,
    B: Connection<Message = M>,
{
    let mut script = VecDeque::new();
    for step in 0..STEPS {
        let op = Op::random(rng, step as u64, bare.granted, step > STEPS / 4);
        script.push_back(op);
        if script.len() > SHOWN {
            script.pop_front();
        }
        let (expected, saw) = (bare.step(op), wrapped.step(op));
        if expected != saw {
            broken(
                format!("as without the layer: {expected}"),
                format!("{saw}, at step {step}; the last: {script:?}"),
            );
        }
        for (who, bare, wrapped) in [
            ("the reader", &bare.reader, &wrapped.reader),
            ("the writer", &bare.writer, &wrapped.writer),
        ] {
            if bare.is_woken() && wrapped.is_lost() {
                broken(
                    format!("{who} is woken, as without the layer"),
                    format!("it is not, at step {step}; the last: {script:?}"),
                );
            }
        }
    }
}

fn complete<H, C, M>(rng: &mut fastrand::Rng, rig: &mut Rig<'_, H, C, M>)
where
    C: Connection<Message = M>,
{
    for step in 0..STEPS {
        let op = Op::random(rng, step as u64, rig.granted, false);
        if !matches!(op, Op::Control(_)) {
            rig.step(op);
        }
    }
    for _ in 0..STEPS * 2 {
        for op in [Op::Flush, Op::PeerTakes, Op::Next] {
            rig.step(op);
        }
    }
    for (what, expected, saw) in [("down", &rig.sent, &rig.arrived), ("up", &rig.said, &rig.read)] {
        if expected != saw {
            broken(
                format!("these messages on the way {what}: {expected:?}"),
                format!("{saw:?}"),
            );
        }
    }
}

impl<'a, H, C, M> Rig<'a, H, C, M>
where
    C: Connection<Message = M>,
{
    fn new(suite: &'a Suite<H, M>, connection: C, peer: Scripted<M>) -> Self {
        Self {
            suite,
            connection: Box::pin(connection),
            peer,
            reader: Arc::default(),
            writer: Arc::default(),
            granted: false,
            said: Vec::new(),
            read: Vec::new(),
            sent: Vec::new(),
            arrived: Vec::new(),
        }
    }

    /// Plays one step, and says what was seen.
    fn step(&mut self, op: Op) -> String {
        let saw = match op {
            Op::Next => {
                let polled = self.reader.clone().poll(|cx| self.connection.as_mut().poll_next(cx));
                match polled {
                    Poll::Pending => "pending".to_owned(),
                    Poll::Ready(event) => self.event(event.as_ref()),
                }
            }
            Op::Ready => {
                let polled = self.writer.clone().poll(|cx| self.connection.as_mut().poll_ready(cx));
                self.granted = matches!(polled, Poll::Ready(Ok(())));
                shown(polled)
            }
            Op::Flush => shown(self.writer.clone().poll(|cx| self.connection.as_mut().poll_flush(cx))),
            Op::Close => {
                self.granted = false;
                shown(self.writer.clone().poll(|cx| self.connection.as_mut().poll_close(cx)))
            }
            Op::Send(n) => {
                self.granted = false;
                self.sent.push(n);
                let item = Outgoing::new(self.suite.message(n));
                shown(Poll::Ready(self.connection.as_mut().start_send(item)))
            }
            Op::Control(n) => {
                let item = Outgoing::new(self.suite.message(n)).control();
                shown(Poll::Ready(self.connection.as_mut().start_send(item)))
            }
            Op::PeerSays(n) => {
                self.said.push(n);
                self.peer.say(Event::Message(self.suite.message(n)));
                String::new()
            }
            Op::PeerDrops(n) => {
                let item = Outgoing::new(self.suite.message(n));
                self.peer
                    .say(Event::Dropped(item, DropReason::Refused("by the script")));
                String::new()
            }
            Op::PeerTakes => match self.peer.take() {
                Poll::Ready(Some(message)) => {
                    let n = self.suite.number(&message);
                    self.arrived.extend(n);
                    format!("{n:?}")
                }
                Poll::Ready(None) => "the end".to_owned(),
                Poll::Pending => "nothing yet".to_owned(),
            },
            Op::PeerCuts => {
                self.peer.cut("by the script");
                String::new()
            }
        };
        let taken = self.peer.taken(|message| self.suite.number(message)).len();
        format!("{op:?} gives {saw:?}, {taken} messages are below")
    }

    fn event(&mut self, event: Option<&Event<M>>) -> String {
        let number = |message| self.suite.number(message);
        match event {
            // Names of layers and extensions may differ.
            Some(Event::Up(up)) => format!("Up({}, {})", up.epoch, up.resumed),
            Some(Event::Message(message)) => {
                self.read.extend(number(message));
                format!("Message({:?})", number(message))
            }
            Some(Event::Delivered(item)) => format!("Delivered({:?})", number(&item.message)),
            Some(Event::Dropped(item, reason)) => {
                format!("Dropped({:?}, {reason})", number(&item.message))
            }
            Some(Event::Down(down)) => {
                format!("Down({}, {}, {})", down.epoch, down.cause, down.will_retry)
            }
            Some(_) => "an event of an unknown kind".to_owned(),
            None => "None".to_owned(),
        }
    }
}

impl Task {
    fn poll<T>(self: Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.woken.store(false, Ordering::Relaxed);
        self.waits.store(false, Ordering::Relaxed);
        let polled = poll(&mut Context::from_waker(&Waker::from(self.clone())));
        self.waits.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    /// It waited, and has been woken.
    fn is_woken(&self) -> bool {
        self.waits.load(Ordering::Relaxed) && self.woken.load(Ordering::Relaxed)
    }

    /// It waits, and has not been woken.
    fn is_lost(&self) -> bool {
        self.waits.load(Ordering::Relaxed) && !self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

fn shown(polled: Poll<Result<(), Closed>>) -> String {
    match polled {
        Poll::Pending => "pending".to_owned(),
        Poll::Ready(Ok(())) => "ready".to_owned(),
        Poll::Ready(Err(_)) => "closed".to_owned(),
    }
}
