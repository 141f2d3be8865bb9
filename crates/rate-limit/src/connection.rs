mod sink;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_ws_core::{
    Alarm, Connection, ConnectionId, Disposition, Down, DropReason, Event, Failure, FailureKind, Halves, Length,
    Measure, Moment, Outgoing, Severable, Up,
};

use crate::{
    booking::Booking,
    handle::Handle,
    intake::{Intake, Verdict},
    layer::Settings,
    throttle::{NoSignal, ThrottleSignal},
};

/// A connection whose traffic is limited.
///
/// # The sink
///
/// A message goes straight down if the limits allow it. Otherwise it stays in hand until its turn
/// comes, moved on by whoever reads, writes or flushes; until then the sink is not ready for
/// another, and a flush is not done. So at most one message is held, whose size is known; with
/// [`Excess::Refuse`](crate::Excess::Refuse) none is, it comes back.
///
/// - The [control lane](tower_ws_core::Lane::Control) passes at once, and does not count.
/// - The message in hand comes back when its deadline passes, when its ticket is found cancelled at
///   its turn, when the connection ends for good (`Disconnected`), or when it is closed (`Closed`):
///   the farewell waits for no limit. Flush first.
///
/// # The stream
///
/// While too much has come in, it is pending, and nothing below is read: not for longer than 5 s at
/// a time. What goes on too long is ended, with [`Down`] and a [`Failure`] of the kind
/// [`Policy`](FailureKind::Policy), whose [disposition](Disposition) is to come back after 30 to
/// 120 s. The connection below is dropped then, without a farewell, for which nobody over there
/// would have an ear; control messages that its socket had not taken go with it, without an event.
///
/// From the first poll of `poll_close` on everything is read without limit: a closing has a
/// deadline of its own.
#[pin_project]
pub struct RateLimitConnection<C: Connection, Me = Length, G = NoSignal> {
    #[pin]
    inner: Severable<C>,
    measure: Me,
    signal: G,
    settings: Settings,
    /// The name of the connection, once it is up.
    up: Option<ConnectionId>,
    held: Option<Held<C::Message>>,
    /// What came back, until it is read.
    lost: VecDeque<(Outgoing<C::Message>, DropReason)>,
    /// The end, told once what was held has been.
    down: Option<Down>,
    /// What was held has been passed on, and not flushed.
    unflushed: bool,
    closing: bool,
    /// The turn of what is held.
    turn: Alarm,
    intake: Option<Intake>,
    /// The end of a stop.
    stop: Alarm,
    /// For what goes out, and what comes in, together.
    moment: Moment,
    halves: Halves,
}

#[derive(Debug)]
struct Held<M> {
    item: Outgoing<M>,
    booking: Booking,
}

/// How long to stay away from a server that flooded us: as long as [the table](Disposition) says of
/// one that asked for it. At once would invite the same again; never would let one bad hour of a
/// server end a session for good.
const STAY_AWAY: Disposition = Disposition::Wait {
    least: Duration::from_secs(30),
    most: Duration::from_secs(120),
};

impl<C: Connection, Me, G> RateLimitConnection<C, Me, G> {
    pub(crate) fn new(inner: C, measure: Me, signal: G, settings: Settings) -> Self {
        Self {
            inner: Severable::new(inner),
            measure,
            signal,
            intake: settings.inbound.map(|inbound| Intake::new(&inbound, Instant::now())),
            settings,
            up: None,
            held: None,
            lost: VecDeque::new(),
            down: None,
            unflushed: false,
            closing: false,
            turn: Alarm::default(),
            stop: Alarm::default(),
            moment: Moment::default(),
            halves: Halves::new(),
        }
    }

    fn came_up(self: Pin<&mut Self>, mut up: Up) -> Up {
        let this = self.project();
        *this.up = Some(up.connection);
        let handle = Handle(this.settings.hub.clone());
        up.show(handle.0.source());
        up.extensions.insert(handle);
        up.through("rate-limit")
    }

    fn next_lost(self: Pin<&mut Self>) -> Option<Event<C::Message>> {
        let this = self.project();
        let (item, reason) = this.lost.pop_front()?;
        this.halves.wake_writer();
        Some(Event::Dropped(item, reason))
    }

    /// Nothing more will come: what is held comes back, then the reader gets `down`.
    fn end(mut self: Pin<&mut Self>, down: Option<Down>) {
        self.as_mut().project().inner.release();
        self.as_mut().give_up(DropReason::Disconnected);
        *self.project().down = down;
    }

    /// Nothing more will go out: what is held comes back.
    fn give_up(self: Pin<&mut Self>, reason: DropReason) {
        let this = self.project();
        if let Some(held) = this.held.take() {
            this.lost.push_back((held.item, reason));
        }
        *this.unflushed = false;
        this.halves.wake_writer();
    }

    /// Resolves when something may be read.
    fn poll_stop(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some(intake) = this.intake else {
            return Poll::Ready(());
        };
        match intake.stopped_until(this.moment.now()) {
            Some(until) if !*this.closing => {
                this.moment.pass();
                this.stop.poll(until, this.moment.now(), cx)
            }
            _ => Poll::Ready(()),
        }
    }

    /// There was nothing to read.
    fn found_nothing(self: Pin<&mut Self>) {
        let this = self.project();
        this.moment.pass();
        if let (Some(intake), Some(connection)) = (this.intake, this.up)
            && intake.found_nothing(Instant::now())
        {
            tracing::debug!(%connection, "the peer keeps to the limit again");
        }
    }
}

impl<C, Me, G> RateLimitConnection<C, Me, G>
where
    C: Connection,
    Me: Measure<C::Message>,
    G: ThrottleSignal<C::Message>,
{
    /// A message has come in.
    fn took(mut self: Pin<&mut Self>, message: &C::Message) {
        let this = self.as_mut().project();
        if let Some(outbound) = &this.settings.outbound
            && let Some(pause) = this.signal.pause(message)
        {
            outbound.pause(pause);
        }
        let (Some(intake), Some(connection), false) = (this.intake, &*this.up, *this.closing) else {
            return;
        };
        let bytes = this.measure.bytes(message) as u64;
        match intake.took(this.moment.now(), bytes) {
            Verdict::Fine | Verdict::GoesOn => {}
            Verdict::Begins => {
                this.settings.hub.flood_begins();
                tracing::debug!(%connection, "more comes in than is allowed; reading less");
            }
            Verdict::Flood(over) => {
                this.settings.hub.flood_ends_connection();
                let over_ms = over.as_millis() as u64;
                tracing::warn!(%connection, over_ms, "the peer floods us; dropping the connection");
                let down = this.inner.sever(flooded(over));
                self.end(Some(down));
            }
        }
    }
}

fn flooded(over: Duration) -> Failure {
    let text = format!(
        "more came in than the inbound limit allows, for {over:.1?} without a break: the connection was dropped; raise the \
         limit if the server is right"
    );
    Failure::new(FailureKind::Policy, text).with_disposition(STAY_AWAY)
}

impl<C, Me, G> Stream for RateLimitConnection<C, Me, G>
where
    C: Connection,
    Me: Measure<C::Message>,
    G: ThrottleSignal<C::Message>,
{
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        if self.held.is_some() || self.unflushed {
            self.halves.park_reader(cx);
            // What becomes of it shows in the fields.
            let _ = self.as_mut().poll_push();
        }
        if self.up.is_some() || self.inner.is_severed() {
            if let Some(event) = self.as_mut().next_lost() {
                return Poll::Ready(Some(event));
            }
            if let Some(down) = self.as_mut().project().down.take() {
                return Poll::Ready(Some(Event::Down(down)));
            }
        }
        // Whoever sends, or closes, wakes it when there is something to do.
        self.halves.park_reader(cx);
        if !self.inner.is_severed() && self.as_mut().poll_stop(cx).is_pending() {
            return Poll::Pending;
        }
        let polled = self.as_mut().project().inner.poll_next(cx);
        // Nearly all of them, in place: an event is large.
        if let Poll::Ready(Some(Event::Message(message))) = &polled {
            self.took(message);
            return polled;
        }
        let Poll::Ready(event) = polled else {
            self.found_nothing();
            return Poll::Pending;
        };
        match event {
            Some(Event::Up(up)) => Poll::Ready(Some(Event::Up(self.came_up(up)))),
            Some(Event::Down(down)) => {
                self.settings.heed(&down.cause);
                if !down.will_retry {
                    self.as_mut().end(Some(down));
                    return self.poll_next(cx);
                }
                // What is in hand goes with the next connection.
                *self.project().unflushed = false;
                Poll::Ready(Some(Event::Down(down)))
            }
            None => {
                // A session may end between two connections.
                self.as_mut().end(None);
                Poll::Ready(self.next_lost())
            }
            event => Poll::Ready(event),
        }
    }
}

impl<C, Me, G> fmt::Debug for RateLimitConnection<C, Me, G>
where
    C: Connection + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitConnection")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .field("holds", &self.held.is_some())
            .finish_non_exhaustive()
    }
}
