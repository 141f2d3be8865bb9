mod sink;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_ws_core::{
    Alarm, Closed, Connection, Down, DropReason, Event, Halves, Length, Measure, Moment, Outgoing, Up, jsonrpc::Ids,
    later,
};

use crate::{
    dialect::Dialect,
    handle::Session,
    layer::{Settings, SubscribeLayer},
    standing::{Ask, Fate, Standing},
};

/// A connection on which subscriptions stand.
///
/// # When it is ready
///
/// When the connection below is, and everything that is to be said first has been handed down. When
/// that takes longer than the [patience](SubscribeLayer::patience), one message of the
/// application's goes for each that stands. The control lane knows no order: it passes at once.
///
/// # What comes back
///
/// A message that begins a subscription for which there is no room, and one that ends a
/// subscription which the server does not have yet: as [`Refused`](DropReason::Refused). At most 64
/// of these wait to be read; then the sink is not ready. What else comes back from below passes,
/// but for the layer's own messages.
///
/// Dropping it drops what it keeps; closing it takes nothing back, since the server forgets with
/// the connection.
#[pin_project]
pub struct SubscribeConnection<C, D, M, Me = Length> {
    #[pin]
    inner: C,
    dialect: D,
    measure: Me,
    settings: Settings,
    standing: Standing<M>,
    session: Session<M>,
    ids: Ids,
    link: Link,
    epoch: u64,
    /// The connection's end, told once what it took along has been.
    down: Option<Down>,
    /// What this layer gives back, and why.
    refused: VecDeque<(Outgoing<M>, DropReason)>,
    /// The sink said that it was ready, and this has not been used.
    granted: bool,
    /// The readiness of the sink below is there for it: otherwise the next message waits here.
    reserved: bool,
    held: Option<Outgoing<M>>,
    /// Until when new messages wait for those that stand.
    patience: Option<Instant>,
    turn: Turn,
    /// When to say what could not be said.
    retry_at: Option<Instant>,
    /// A writer has to wait.
    writer_waits: bool,
    /// Something was handed down from here and not flushed.
    dirty: bool,
    closing: bool,
    /// Messages read, and not passed up, since whoever reads had his turn.
    taken: u8,
    /// For what comes in together, or goes out.
    moment: Moment,
    alarm: Alarm,
    halves: Halves,
}

/// A peer that always has something to say to those who read subscriptions puts off all others by
/// so many messages at most (law 12).
const FAIR: u8 = 64;

/// After how long something that was refused below, by a rate limit that does not let it wait, is
/// said again: the shortest time for which limits are commonly given.
const RETRY: Duration = Duration::from_secs(1);

/// How many refused messages wait to be read before the sink is not ready.
const REFUSED: usize = 64;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// Its `Up` has not been read.
    Fresh,
    Up,
    /// Another is to come.
    Down,
    /// None is to come.
    Over,
    /// The connection below has said `None`.
    Ended,
}

/// Whose turn it is once the patience is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Standing,
    New,
    /// A writer was woken for a new message. If he does not come he has gone, and what stands goes
    /// on.
    Offered,
}

impl<C, D, M, Me> SubscribeConnection<C, D, M, Me>
where
    C: Connection<Message = M>,
    D: Dialect<M>,
    M: Clone + Send + 'static,
    Me: Measure<M>,
{
    pub(crate) fn new(inner: C, layer: SubscribeLayer<D, M, Me>) -> Self {
        let session = Session::begin(layer.hub.as_ref());
        let mut standing = Standing::new(layer.settings.limits, session.counts());
        for message in layer.standing {
            let bytes = layer.measure.bytes(&message);
            let (undo, feed) = (None, None);
            standing.ask(&layer.dialect, Ask { message, undo, feed }, bytes);
        }
        Self {
            inner,
            standing,
            dialect: layer.dialect,
            measure: layer.measure,
            settings: layer.settings,
            session,
            ids: Ids::random(),
            link: Link::Fresh,
            epoch: 0,
            down: None,
            refused: VecDeque::new(),
            granted: false,
            reserved: false,
            held: None,
            patience: None,
            turn: Turn::Standing,
            retry_at: None,
            writer_waits: false,
            dirty: false,
            closing: false,
            taken: 0,
            moment: Moment::default(),
            alarm: Alarm::default(),
            halves: Halves::new(),
        }
    }

    // === what the layer itself has to say ===

    /// Has it anything to say that it may say now?
    fn has_own(&self) -> bool {
        self.link == Link::Up && !self.closing && (self.held.is_some() || self.standing.has_own())
    }

    fn patience_is_over(&self, now: Instant) -> bool {
        self.patience.is_some_and(|until| until <= now)
    }

    /// Hands down the next message of the layer's own to a connection that is ready for it.
    fn say(self: Pin<&mut Self>, now: Instant) -> Result<(), Closed> {
        let this = self.project();
        *this.reserved = false;
        *this.dirty = true;
        if let Some(held) = this.held.take() {
            return this.inner.start_send(held);
        }
        let next = this.standing.next_own(now, this.dialect, this.ids);
        if !this.standing.has_own() {
            *this.patience = None;
        }
        if let Some(news) = this.standing.news() {
            this.session.publish(news, this.standing.take_changes());
        }
        match next {
            Some(item) => this.inner.start_send(item.epoch(*this.epoch)),
            None => Ok(()),
        }
    }

    /// Says what is to be said first, for a writer. Ready once it is his turn.
    fn poll_first(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        while self.has_own() {
            let now = Instant::now();
            if self.held.is_none() && self.turn != Turn::Standing && self.patience_is_over(now) {
                break;
            }
            let this = self.as_mut().project();
            ready!(this.inner.poll_ready(&mut Context::from_waker(this.halves.both())))?;
            self.as_mut().say(now)?;
            *self.as_mut().project().turn = Turn::New;
        }
        Poll::Ready(Ok(()))
    }

    /// The same for whoever reads, as far as the connection below takes it: the writer may have
    /// nothing more to say.
    fn drive(mut self: Pin<&mut Self>) {
        let mut moved = false;
        while self.has_own() {
            let now = Instant::now();
            let this = self.as_mut().project();
            let mut both = Context::from_waker(this.halves.both());
            let Poll::Ready(Ok(())) = this.inner.poll_ready(&mut both) else {
                break; // Why it is closed, the events say.
            };
            let offers = *this.writer_waits && this.patience.is_some_and(|until| until <= now);
            match this.turn {
                Turn::New if offers => {
                    *this.turn = Turn::Offered;
                    this.halves.both().wake_by_ref();
                    break;
                }
                Turn::Offered => *this.writer_waits = false,
                _ => {}
            }
            if self.as_mut().say(now).is_err() {
                break;
            }
            *self.as_mut().project().turn = Turn::New;
            moved = true;
        }
        let this = self.project();
        if *this.dirty && *this.link == Link::Up {
            let mut both = Context::from_waker(this.halves.both());
            *this.dirty = this.inner.poll_flush(&mut both).is_pending();
        }
        // Only if something moved: whoever reads may be the same task, and would never rest.
        if moved {
            this.halves.wake_writer();
        }
    }

    /// What handles want.
    fn take_wishes(mut self: Pin<&mut Self>) {
        let Some((asks, gone)) = self.session.take() else {
            return;
        };
        let this = self.as_mut().project();
        for ask in asks {
            let bytes = this.measure.bytes(&ask.message);
            this.standing.ask(this.dialect, ask, bytes);
        }
        for feed in gone {
            this.standing.let_go(this.dialect, feed, this.ids);
        }
        self.as_mut().begin_patience(Instant::now());
        self.as_mut().publish();
    }

    fn begin_patience(self: Pin<&mut Self>, now: Instant) {
        let this = self.project();
        if *this.link == Link::Up && this.standing.has_own() && this.patience.is_none() {
            *this.patience = Some(later(now, this.settings.patience));
            *this.turn = Turn::Standing;
        }
    }

    // === what comes in ===

    fn hear(mut self: Pin<&mut Self>, message: &M) -> Fate<M> {
        let this = self.as_mut().project();
        if this.standing.is_idle() {
            return Fate::AsItIs; // As a rule, with somebody who subscribes to nothing.
        }
        let (now, bytes) = (this.moment.now(), this.measure.bytes(message));
        let fate = this.standing.hear(now, this.dialect, message, bytes, this.ids);
        self.as_mut().begin_patience(now);
        self.publish();
        fate
    }

    /// Another event from below, as it goes up. `None` if it does not, or not yet.
    fn translate(mut self: Pin<&mut Self>, event: Option<Event<M>>) -> Option<Event<M>> {
        let this = self.as_mut().project();
        let event = match event {
            Some(Event::Up(up)) => Some(Event::Up(self.as_mut().came_up(up))),
            Some(Event::Dropped(item, reason)) => {
                let now = Instant::now();
                let own = this.standing.returned(now, this.dialect, &item, &reason);
                if this.standing.has_put_off() {
                    this.retry_at.get_or_insert(now + RETRY);
                }
                (!own).then_some(Event::Dropped(item, reason))
            }
            Some(Event::Down(down)) => {
                self.as_mut().went_down(down);
                None
            }
            Some(event) => return Some(event),
            None => {
                // The session may have ended between two connections.
                *this.link = Link::Ended;
                this.standing.end(None);
                None
            }
        };
        self.as_mut().publish();
        self.halves.wake_writer();
        event
    }

    fn came_up(mut self: Pin<&mut Self>, mut up: Up) -> Up {
        let now = Instant::now();
        let this = self.as_mut().project();
        // The first counter is the one that the client takes. Where there is none, somebody above
        // may count from 1: so this one begins elsewhere.
        if let (Link::Fresh, Some(found)) = (&this.link, up.extensions.get::<Ids>()) {
            *this.ids = found.clone();
        }
        up.extensions.insert(this.ids.clone());
        *this.link = Link::Up;
        *this.epoch = up.epoch;
        this.standing.came_up(now, up.resumed);
        up.show(this.session.handle().0.source());
        up.extensions.insert(this.session.handle());
        self.as_mut().begin_patience(now);
        up.through("subscribe")
    }

    fn went_down(self: Pin<&mut Self>, down: Down) {
        let this = self.project();
        (*this.granted, *this.reserved, *this.dirty) = (false, false, false);
        (*this.patience, *this.retry_at) = (None, None);
        if let Some(held) = this.held.take() {
            let reason = match down.will_retry {
                true => DropReason::Disconnected,
                false => DropReason::Closed,
            };
            this.standing.returned(Instant::now(), this.dialect, &held, &reason);
            this.refused.push_back((held, reason));
        }
        if down.will_retry {
            *this.link = Link::Down;
            this.standing.went_down(Instant::now(), &down.cause);
        } else {
            *this.link = Link::Over;
            this.standing.end(Some(&down.cause));
        }
        *this.down = Some(down);
    }

    fn publish(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(now) = this.standing.news() {
            this.session.publish(now, this.standing.take_changes());
        }
    }

    /// Says what was put off, once its time has come; and sees to it that a writer who waits is
    /// woken when the patience is over. True if there is something to say.
    fn poll_clock(mut self: Pin<&mut Self>) -> bool {
        let this = self.as_mut().project();
        this.moment.pass();
        *this.taken = 0;
        let patience = this.patience.filter(|_| *this.writer_waits);
        let Some(next) = patience.into_iter().chain(*this.retry_at).min() else {
            return false;
        };
        let now = Instant::now();
        let mut both = Context::from_waker(this.halves.both());
        let _ = this.alarm.poll(next, now, &mut both);
        if this.retry_at.is_none_or(|at| at > now) {
            return false;
        }
        *this.retry_at = None;
        this.standing.retry();
        self.begin_patience(now);
        true
    }

    /// What the readers of subscriptions want to be waited for.
    fn poll_stalled(self: Pin<&mut Self>, cx: &Context<'_>) -> Poll<()> {
        let stalled = self.project().standing.stalled();
        if let Some(feed) = stalled {
            ready!(feed.poll_room(cx));
            *stalled = None;
        }
        Poll::Ready(())
    }
}

impl<C, D, M, Me> Stream for SubscribeConnection<C, D, M, Me>
where
    C: Connection<Message = M>,
    D: Dialect<M>,
    M: Clone + Send + 'static,
    Me: Measure<M>,
{
    type Item = Event<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        loop {
            self.as_mut().take_wishes();
            let this = self.as_mut().project();
            // The first event is `Up`.
            if *this.link != Link::Fresh
                && let Some((item, reason)) = this.refused.pop_front()
            {
                if this.refused.len() + 1 == REFUSED {
                    this.halves.wake_writer();
                }
                return Poll::Ready(Some(Event::Dropped(item, reason)));
            }
            if let Some(down) = this.down.take() {
                return Poll::Ready(Some(Event::Down(down)));
            }
            if *this.link == Link::Ended {
                return Poll::Ready(None);
            }
            if self.dirty || self.has_own() {
                // What is polled below wakes both halves: before that, this one has to be there.
                self.halves.park_reader(cx);
                self.as_mut().drive();
            }
            if self.as_mut().poll_stalled(cx).is_pending() {
                self.halves.park_reader(cx);
                let due = self.as_mut().poll_clock();
                match self.session.register(cx) || due {
                    true => continue,
                    false => return Poll::Pending,
                }
            }
            let polled = self.as_mut().project().inner.poll_next(cx);
            // In place: an event is large, and to move it costs more than to look at it.
            match &polled {
                Poll::Ready(Some(Event::Message(message))) => match self.as_mut().hear(message) {
                    Fate::AsItIs => return polled,
                    Fate::Instead(other) => return Poll::Ready(Some(Event::Message(other))),
                    Fate::Taken if self.taken < FAIR => {
                        *self.as_mut().project().taken += 1;
                        continue;
                    }
                    Fate::Taken => {
                        self.as_mut().poll_clock();
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                },
                Poll::Pending => {
                    self.halves.park_reader(cx);
                    let due = self.as_mut().poll_clock();
                    // What came in between the two is not lost.
                    match self.session.register(cx) || due {
                        true => continue,
                        false => return Poll::Pending,
                    }
                }
                _ => {}
            }
            if let Poll::Ready(event) = polled
                && let Some(event) = self.as_mut().translate(event)
            {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl<C: fmt::Debug, D, M, Me> fmt::Debug for SubscribeConnection<C, D, M, Me> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeConnection")
            .field("inner", &self.inner)
            .field("standing", &self.standing)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
