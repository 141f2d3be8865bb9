use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{
    Closed, Connection, Down, Event, Failure, Lane, Outgoing, Ping, Probe, Progress, Severable, Suspicion, Ticket, Up,
    forward_sink,
};

use crate::{
    hub::ConnectionStats,
    layer::Settings,
    vigil::{Task, Vigil},
};

/// A connection that is watched, and that ends when its peer is dead.
///
/// Everything passes, in both directions, but the answers to the probes, and probes that were
/// dropped below. Reading drives it: the probes, the clock, the verdict. A writer who waits is
/// woken by the verdict, also on another task.
///
/// After the verdict the stream has [`Down`], with a [`Failure`] of the kind
/// [`Timeout`](tower_ws_core::FailureKind::Timeout), then `None`; the sink fails with
/// [`Closed`](tower_ws_core::Closed). The connection below is dropped at that moment. Control
/// messages that its socket had not taken go with it, without an event.
///
/// From the first poll of `poll_close` on nobody is probed or judged: closing has a deadline of its
/// own.
#[pin_project]
pub struct HealthConnection<C, P = Ping> {
    #[pin]
    inner: Severable<C>,
    probe: P,
    settings: Settings,
    session: ConnectionStats,
    /// While the connection is up.
    vigil: Option<Vigil>,
    closing: bool,
    /// Events since the vigil was last asked.
    unlooked: u8,
}

/// A peer that always has something to say puts off a probe that was asked for by so many events at
/// most (law 12).
const FAIR: u8 = 64;

impl<C, P> HealthConnection<C, P> {
    pub(crate) fn new(inner: C, probe: P, settings: Settings, session: ConnectionStats) -> Self {
        Self {
            inner: Severable::new(inner),
            probe,
            settings,
            session,
            vigil: None,
            closing: false,
            unlooked: 0,
        }
    }
}

impl<C, P> Stream for HealthConnection<C, P>
where
    C: Connection,
    P: Probe<C::Message>,
{
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let this = self.as_mut().project();
            if let Some(vigil) = this.vigil {
                if *this.unlooked >= FAIR {
                    *this.unlooked = 0;
                    // What floods is not dead: there is nothing else to do about it.
                    if let Poll::Ready(Task::Send(nonce, ticket)) = vigil.poll(cx, this.session) {
                        self.as_mut().send(cx, nonce, ticket);
                        continue;
                    }
                }
                vigil.before_read();
            }
            let polled = this.inner.poll_next(cx);
            // Nearly all of them, in place: an event is large.
            if let Poll::Ready(Some(Event::Message(message))) = &polled {
                *this.unlooked += 1;
                match self.as_mut().is_answer(message) {
                    true => continue,
                    false => return polled,
                }
            }
            let Poll::Ready(event) = polled else {
                *this.unlooked = 0;
                let (Some(vigil), false) = (this.vigil, *this.closing) else {
                    return Poll::Pending;
                };
                match ready!(vigil.poll(cx, this.session)) {
                    Task::Send(nonce, ticket) => self.as_mut().send(cx, nonce, ticket),
                    Task::ReadAgain => {}
                    Task::Leave(cause, silent) => {
                        let down = self.leave(cause).silent(silent);
                        return Poll::Ready(Some(Event::Down(down)));
                    }
                }
                // Reading is what moves the probe, and what the next wake-up comes from.
                continue;
            };
            *this.unlooked += 1;
            let Some(event) = event else {
                self.end();
                return Poll::Ready(None);
            };
            if let Some(event) = self.as_mut().pass(event) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl<C, P> HealthConnection<C, P>
where
    C: Connection,
    P: Probe<C::Message>,
{
    /// A message has come in: is it the answer to a probe, and nothing for those above?
    fn is_answer(self: Pin<&mut Self>, message: &C::Message) -> bool {
        let this = self.project();
        if let Some(vigil) = this.vigil {
            vigil.heard();
            if vigil.awaits()
                && let Some(nonce) = this.probe.answer(message)
                && vigil.answered(nonce, this.session)
            {
                return true;
            }
        }
        this.session.message_in();
        false
    }

    /// What goes up of another event from below. `None` for what concerns only the probes.
    fn pass(mut self: Pin<&mut Self>, event: Event<C::Message>) -> Option<Event<C::Message>> {
        let this = self.as_mut().project();
        match (event, this.vigil) {
            (Event::Up(up), _) => Some(Event::Up(self.came_up(up))),
            (Event::Delivered(item), Some(vigil)) => {
                vigil.heard();
                Some(Event::Delivered(item))
            }
            (Event::Dropped(item, reason), Some(vigil)) => {
                let ours = match (&item.ticket, item.lane) {
                    (Some(ticket), Lane::Control) => vigil.dropped(ticket, &reason, this.session),
                    _ => false,
                };
                (!ours).then_some(Event::Dropped(item, reason))
            }
            (Event::Down(down), _) => {
                self.end();
                Some(Event::Down(down))
            }
            (event, _) => Some(event),
        }
    }

    fn came_up(self: Pin<&mut Self>, mut up: Up) -> Up {
        let this = self.project();
        let progress = up.extensions.get::<Progress>().cloned();
        // A layer below may have left one, to tell of progress.
        let suspicion = up.extensions.get_or_insert_default::<Suspicion>().clone();
        *this.vigil = Some(Vigil::new(
            this.settings,
            up.connection,
            progress.clone(),
            suspicion,
            this.session,
        ));
        this.session.up(progress);
        up.show(this.session.handle().0.source());
        up.extensions.insert(this.session.handle());
        up.through("health")
    }

    /// Sends a probe.
    fn send(self: Pin<&mut Self>, cx: &mut Context<'_>, nonce: u64, ticket: Ticket) {
        let mut this = self.project();
        let item = Outgoing::new(this.probe.probe(nonce)).control().ticket(ticket);
        // An error of the sink: the stream says why, and ends.
        if this.inner.as_mut().start_send(item).is_ok() {
            this.inner.as_mut().wake_writer();
            let _ = this.inner.as_mut().poll_flush(cx);
        }
    }

    /// The peer is dead.
    fn leave(mut self: Pin<&mut Self>, cause: Failure) -> Down {
        self.as_mut().end();
        self.project().inner.sever(cause)
    }

    fn end(self: Pin<&mut Self>) {
        let this = self.project();
        *this.vigil = None;
        this.session.down();
    }
}

impl<C: Connection, P> Sink<Outgoing<C::Message>> for HealthConnection<C, P> {
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.project();
        this.inner.start_send(item)?;
        this.session.message_out();
        Ok(())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let this = self.project();
        *this.closing = true;
        this.inner.poll_close(cx)
    }

    forward_sink!(@ inner poll_ready);
    forward_sink!(@ inner poll_flush);
}

impl<C: fmt::Debug, P> fmt::Debug for HealthConnection<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthConnection")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
