use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{
    BoxError, Closed, Connection, Down, DropReason, EndCause, Event, Failure, FailureKind, Lane, Outgoing, TicketSteps,
    Up,
};
use tracing::instrument::Instrumented;

use crate::{backoff::Backoff, closer::Closer, dialer::Dialer, policy::Policy, unread::Unread};

/// A session: a connection that redials below itself.
///
/// It shows each connection as an `Up` and a `Down`, numbered 1, 2, 3 …; [`Down::will_retry`] says
/// whether another will be dialled. Reading drives it all; the sink half never dials, and the two
/// halves may be two tasks.
///
/// # What happens to messages while there is no connection
///
/// - The sink is not ready, from the loss of a connection until the next one's `Up` has been read.
///   It fails, with [`Closed`], only once the session is being closed or has ended. So nothing is
///   queued here: put a queue above.
/// - A message handed to a sink that was ready, but whose connection has just been lost, comes back
///   as [`Dropped`](Event::Dropped): the session never sends it, and never sends anything twice.
/// - A [control](Lane::Control) message needs no readiness and comes back as `Dropped` too. Up to
///   [`Lane::CONTROL_ROOM`] of these events wait to be read; whoever does not read loses further
///   messages that have no ticket. They are logged, and counted by
///   [`Handle::discarded`](crate::Handle::discarded).
/// - A flush is done at once, also when it fails in the middle: nothing waits to be written here,
///   and what became of the messages is told by the events. So a writer who flushes during an
///   outage is not held up by it.
///
/// # How a session ends
///
/// - The policy gives up, or the sink is closed while a connection is up: `Down` without retry,
///   then `None`.
/// - The policy gives up after failed dials: `None`, since there is one `Down` for each `Up`. The
///   cause is in the [`EndCause`] that each `Up` brought, and in
///   [`State::Failed`](crate::State::Failed).
/// - The sink is closed while there is no connection: a dial in progress is cancelled, then `None`.
///
/// Dropping it aborts everything.
#[pin_project]
pub struct ReconnectConnection<S, T, P = Backoff>
where
    S: Service<T, Response: Connection>,
{
    dialer: Dialer<S, T, P>,
    #[pin]
    call: Option<Instrumented<S::Future>>,
    #[pin]
    inner: Option<S::Response>,
    link: Link,
    leaving: Option<Leaving>,
    end_cause: EndCause,
    /// What could not be sent, until it is read.
    returned: VecDeque<Outgoing<Message<S, T>>>,
    /// The epoch in which the sink was last found ready.
    readied: Option<u64>,
    writer: Option<Waker>,
    unread: Unread,
}

type Message<S, T> = <<S as Service<T>>::Response as Connection>::Message;

#[derive(Debug)]
enum Link {
    /// Dialled; its `Up` has not been read.
    Fresh,
    Connected {
        since: Instant,
    },
    Down,
    /// Over. `told` once `None` has been read.
    Ended {
        told: bool,
    },
}

/// The connection is being closed by this side.
#[derive(Debug)]
enum Leaving {
    /// The session ends.
    ForGood,
    /// A handle asked for it. Whoever reads closes the inner sink.
    ToRedial { why: &'static str, closer: Closer },
}

impl<S, T, P> ReconnectConnection<S, T, P>
where
    S: Service<T, Response: Connection>,
{
    pub(crate) fn new(dialer: Dialer<S, T, P>, inner: S::Response) -> Self {
        Self {
            dialer,
            call: None,
            inner: Some(inner),
            link: Link::Fresh,
            leaving: None,
            end_cause: EndCause::new(),
            returned: VecDeque::new(),
            readied: None,
            writer: None,
            unread: Unread::default(),
        }
    }

    /// Law of the sink: whoever may have to wait here is parked before anything below is polled,
    /// and woken at every transition. The inner connection knows nothing of its successor.
    fn park_writer(self: Pin<&mut Self>, cx: &Context<'_>) {
        match self.project().writer {
            Some(writer) => writer.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn wake_writer(self: Pin<&mut Self>) {
        if let Some(writer) = self.project().writer.take() {
            writer.wake();
        }
    }

    fn end(mut self: Pin<&mut Self>) {
        let mut this = self.as_mut().project();
        this.call.set(None);
        this.inner.set(None);
        *this.link = Link::Ended { told: false };
        this.dialer.session().wake_driver();
        self.wake_writer();
    }

    /// Keeps a message that cannot be sent until the reader takes it back.
    fn give_back(self: Pin<&mut Self>, item: Outgoing<Message<S, T>>) {
        let this = self.project();
        // A normal message is the answer to a readiness, and one that somebody waits for must not
        // vanish.
        let bounded = item.lane == Lane::Control && item.ticket.is_none();
        if bounded && this.returned.len() >= Lane::CONTROL_ROOM {
            this.dialer.session().discard();
            return;
        }
        this.returned.push_back(item);
        this.dialer.session().wake_driver();
    }
}

impl<S, T, P> Stream for ReconnectConnection<S, T, P>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    T: Clone,
    P: Policy,
{
    type Item = Event<Message<S, T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.as_mut().project().unread.is_read();
        loop {
            let polled = self.as_mut().poll_event(cx);
            // A command that comes in between the two is not lost.
            if polled.is_ready() || self.dialer.register_for_commands(cx) {
                return polled;
            }
        }
    }
}

impl<S, T, P> ReconnectConnection<S, T, P>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    T: Clone,
    P: Policy,
{
    fn poll_event(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<Message<S, T>>>> {
        loop {
            if let Some(event) = self.as_mut().take_returned() {
                return Poll::Ready(Some(event));
            }
            let mut this = self.as_mut().project();
            match this.link {
                Link::Fresh | Link::Connected { .. } => {
                    self.as_mut().poll_leave(cx);
                    let polled = match self.as_mut().project().inner.as_pin_mut() {
                        Some(inner) => inner.poll_next(cx),
                        None => Poll::Ready(None),
                    };
                    // Nearly all of them; an event is large, and the fewer moves the better.
                    if let Poll::Ready(Some(Event::Message(_))) = polled {
                        return polled;
                    }
                    let event = ready!(polled);
                    if let Some(event) = self.as_mut().translate(event) {
                        return Poll::Ready(Some(event));
                    }
                }
                Link::Down => match ready!(this.dialer.poll_dial(this.call, cx)) {
                    Ok(connection) => {
                        this.inner.set(Some(connection));
                        *this.link = Link::Fresh;
                    }
                    Err(cause) => {
                        this.end_cause.set(cause);
                        self.as_mut().end();
                    }
                },
                Link::Ended { told } => {
                    *told = true;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn take_returned(self: Pin<&mut Self>) -> Option<Event<Message<S, T>>> {
        let this = self.project();
        if this.returned.is_empty() {
            return None;
        }
        let ended = matches!(this.link, Link::Ended { .. });
        if !ended && this.dialer.session().epoch() == 0 {
            return None; // The first event is `Up`.
        }
        let reason = if ended {
            DropReason::Closed
        } else {
            DropReason::Disconnected
        };
        this.returned.pop_front().map(|item| Event::Dropped(item, reason))
    }

    /// While connected, does what the handles ask for: closes, in order, so that nothing below is
    /// lost.
    fn poll_leave(self: Pin<&mut Self>, cx: &Context<'_>) {
        let this = self.project();
        if let Some(why) = this.dialer.asked_to_leave() {
            this.leaving.get_or_insert_with(|| Leaving::ToRedial {
                why,
                closer: Closer::new(),
            });
        }
        if let (Some(Leaving::ToRedial { closer, .. }), Some(inner)) = (this.leaving, this.inner.as_pin_mut()) {
            closer.poll(inner, cx);
        }
    }

    /// An event of the inner connection, as the session's. `None` if the session keeps it to
    /// itself.
    fn translate(mut self: Pin<&mut Self>, event: Option<Event<Message<S, T>>>) -> Option<Event<Message<S, T>>> {
        match event {
            Some(Event::Up(up)) => Some(Event::Up(self.came_up(up))),
            Some(Event::Down(down)) => self.as_mut().went_down(down).map(Event::Down),
            None => {
                let cause = Failure::new(FailureKind::Network, "the connection ended without a word");
                self.as_mut().went_down(Down::new(cause)).map(Event::Down)
            }
            other => other,
        }
    }

    fn came_up(mut self: Pin<&mut Self>, mut up: Up) -> Up {
        let this = self.as_mut().project();
        up.epoch = this.dialer.connected(&up);
        up.show(this.dialer.session().handle().0.source());
        up.extensions.insert(this.dialer.session().handle());
        up.extensions.insert(this.end_cause.clone());
        up.extensions.insert(this.dialer.session().outage_cause());
        *this.link = Link::Connected { since: Instant::now() };
        self.wake_writer();
        up.through("reconnect")
    }

    /// The connection is gone. `None` if nobody knew that it was there.
    fn went_down(mut self: Pin<&mut Self>, mut down: Down) -> Option<Down> {
        let mut this = self.as_mut().project();
        this.inner.set(None);
        let uptime = match std::mem::replace(this.link, Link::Down) {
            Link::Connected { since } => Some(since.elapsed().saturating_sub(down.silent)),
            _ => None,
        };
        let dialer = this.dialer;
        down.cause = dialer.judge(down.cause);
        down.epoch = dialer.epoch();
        down.will_retry = match (this.leaving.take(), uptime) {
            (Some(Leaving::ForGood), _) => {
                dialer.session().closed();
                false
            }
            (Some(Leaving::ToRedial { why, .. }), uptime) => {
                down.cause = Failure::new(FailureKind::Local, why).with_source(down.cause);
                dialer.left(&down.cause, uptime.unwrap_or_default());
                true
            }
            (None, Some(uptime)) => dialer.lost(&down.cause, uptime),
            (None, None) => dialer.failed(&down.cause),
        };
        if down.will_retry {
            self.wake_writer();
        } else {
            this.end_cause.set(down.cause.clone());
            self.end();
        }
        uptime.map(|_| down)
    }
}

impl<S, T, P> Sink<Outgoing<Message<S, T>>> for ReconnectConnection<S, T, P>
where
    S: Service<T, Response: Connection>,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().park_writer(cx);
        let this = self.project();
        match (&this.link, this.inner.as_pin_mut()) {
            (Link::Ended { .. }, _) => Poll::Ready(Err(Closed)),
            (Link::Connected { .. }, Some(inner)) => {
                match (ready!(inner.poll_ready(cx)), &this.leaving) {
                    (Ok(()), _) => {
                        *this.readied = Some(this.dialer.epoch());
                        Poll::Ready(Ok(()))
                    }
                    (Err(error), Some(Leaving::ForGood)) => Poll::Ready(Err(error)),
                    // The reader will learn of it, and wakes this task when there is a successor.
                    (Err(_), _) => {
                        this.unread.waits(None, Instant::now(), cx);
                        Poll::Pending
                    }
                }
            }
            (Link::Down, _) => {
                if let Some(due) = this.dialer.due() {
                    this.unread.waits(Some(due), Instant::now(), cx);
                }
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<Message<S, T>>) -> Result<(), Closed> {
        let this = self.as_mut().project();
        let epoch = this.dialer.epoch();
        // Ready in an earlier epoch is not ready.
        let stale = item.lane == Lane::Normal && this.readied.take().is_some_and(|readied| readied != epoch)
            || item.is_of_another(epoch);
        match (&this.link, this.inner.as_pin_mut()) {
            (Link::Connected { .. }, Some(inner)) if !stale => {
                if let Some(ticket) = &item.ticket {
                    ticket.enter(epoch);
                }
                inner.start_send(item)
            }
            (Link::Ended { told: true }, _) => Err(Closed),
            _ => {
                self.give_back(item);
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().park_writer(cx);
        let this = self.project();
        match (&this.link, this.inner.as_pin_mut()) {
            (Link::Ended { .. }, _) => Poll::Ready(Err(Closed)),
            (Link::Connected { .. }, Some(inner)) => match (ready!(inner.poll_flush(cx)), &this.leaving) {
                (Err(error), Some(Leaving::ForGood)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            },
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().park_writer(cx);
        let mut this = self.as_mut().project();
        *this.leaving = Some(Leaving::ForGood);
        match (&this.link, this.inner.as_mut().as_pin_mut()) {
            (Link::Fresh | Link::Connected { .. }, Some(inner)) => {
                // A failure to say goodbye: the reader learns of the connection's end.
                inner.poll_close(cx).map(|_| Ok(()))
            }
            (Link::Down, _) => {
                this.dialer.session().closed();
                self.end();
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<S, T, P> fmt::Debug for ReconnectConnection<S, T, P>
where
    S: Service<T, Response: Connection>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectConnection")
            .field("epoch", &self.dialer.epoch())
            .field("link", &self.link)
            .field("leaving", &self.leaving)
            .finish_non_exhaustive()
    }
}
