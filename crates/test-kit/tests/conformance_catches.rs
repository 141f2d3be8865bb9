//! The conformance suite fails over what does not conform: each law catches the layer that breaks
//! it.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tower::{Layer, Service};
use tower_ws_core::{Closed, Connection, DropReason, Event, Lane, MapConnection, Outgoing, Wrap};
use tower_ws_test_kit::conformance::Suite;

/// One test for each broken layer: the law catches it by name, and a run of all laws fails.
macro_rules! catches {
    ($($test:ident: $fault:ident => $law:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            let suite = Suite::layer(Broken(Fault::$fault));
            let panic = AssertUnwindSafe(suite.$law()).catch_unwind().await.expect_err("the law is broken");
            let said = panic.downcast_ref::<String>().expect("the suite says why");
            assert!(said.contains(concat!("`", stringify!($law), "` is broken")), "{said}");
            assert!(said.contains("expected: ") && said.contains("saw: ") && said.contains("seed: "), "{said}");
            assert!(AssertUnwindSafe(suite.run()).catch_unwind().await.is_err());
        }
    )*};
}

catches! {
    a_fresh_clone_is_called: CallsAClone => a_readied_service_goes_with_the_call;
    down_twice: SaysDownTwice => one_down_for_each_up;
    no_down: SwallowsDown => one_down_for_each_up;
    an_event_after_none: SpeaksAfterNone => nothing_after_none;
    a_connection_that_stays: OutlivesItsOwner => dropping_aborts;
    a_close_that_reads: ReadsOnClose => close_loses_nothing_unread;
    a_close_kept: KeepsTheClose => close_reaches_the_peer;
    a_second_close_that_panics: PanicsOnClose => closing_again_is_harmless;
    messages_out_of_order: Reorders => order_is_kept;
    messages_out_of_order_against_the_script: Reorders => wrapping_is_transparent;
    a_writer_asleep: LosesTheWriter => a_writer_on_another_task_is_woken;
    a_writer_asleep_in_the_script: LosesTheWriter => wrapping_is_transparent;
    a_reader_asleep_in_the_script: LosesTheReader => wrapping_is_transparent;
    control_refused: RefusesControl => control_needs_no_readiness;
    control_kept_until_ready: HoldsControl => control_needs_no_readiness;
    control_not_passed_on: HoldsControl => control_is_passed_on_at_once;
    a_message_doubled_when_a_send_is_given_up: SendsTwice => cancelling_a_send_is_safe;
    dropped_swallowed: SwallowsDropped => every_message_ends_once;
    dropped_twice: SaysDroppedTwice => every_message_ends_once;
    messages_lost: LosesMessages => every_message_ends_once;
    tickets_lost: StripsTickets => tickets_move_forward;
    a_cancelled_message_written: StripsTickets => a_cancelled_ticket_is_never_written;
    a_flush_that_stops: KeepsTheFlush => a_flush_reaches_below;
    a_flush_that_stops_while_blocked: FlushesWhenIdle => a_flush_reaches_below;
    a_close_that_waits_for_a_dry_read: ClosesWhenIdle => a_flood_puts_off_no_close;
    a_readiness_taken_back: TakesReadyBack => ready_stays_until_it_is_used;
    a_ready_sink_that_fails: FailsWhenReady => ready_takes_a_message_while_the_session_goes_on;
}

#[tokio::test(start_paused = true)]
async fn refused_messages_without_bound() {
    let suite = Suite::layer(Broken(Fault::HoldsRefused)).refuses(|n| n.to_string());
    let law = AssertUnwindSafe(suite.what_is_refused_waits_within_bounds());
    let panic = law.catch_unwind().await.expect_err("the law is broken");
    let said = panic.downcast_ref::<String>().expect("the suite says why");
    assert!(said.contains("16384 messages wait to be told of"), "{said}");
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    CallsAClone,
    SaysDownTwice,
    SwallowsDown,
    SpeaksAfterNone,
    OutlivesItsOwner,
    ReadsOnClose,
    KeepsTheClose,
    PanicsOnClose,
    Reorders,
    LosesTheWriter,
    LosesTheReader,
    RefusesControl,
    HoldsControl,
    SendsTwice,
    SwallowsDropped,
    SaysDroppedTwice,
    LosesMessages,
    StripsTickets,
    KeepsTheFlush,
    FlushesWhenIdle,
    ClosesWhenIdle,
    TakesReadyBack,
    FailsWhenReady,
    HoldsRefused,
}

#[derive(Clone, Copy)]
struct Broken(Fault);

#[derive(Clone)]
struct BrokenService<S> {
    inner: S,
    fault: Fault,
}

/// A connection with one fault.
struct Faulty<C: Connection> {
    /// Taken only when this is dropped.
    inner: Option<Pin<Box<C>>>,
    fault: Fault,
    events: VecDeque<Option<Event<C::Message>>>,
    control: VecDeque<Outgoing<C::Message>>,
    ready: bool,
    sent: usize,
    closes: usize,
}

impl<S> Layer<S> for Broken {
    type Service = BrokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BrokenService { inner, fault: self.0 }
    }
}

impl<S, T> Service<T> for BrokenService<S>
where
    S: Service<T, Response: Connection<Message: Clone>> + Clone,
{
    type Response = Faulty<S::Response>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, Fault>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let call = match self.fault {
            Fault::CallsAClone => self.inner.clone().call(target),
            _ => self.inner.call(target),
        };
        MapConnection::new(call, self.fault)
    }
}

impl<C: Connection<Message: Clone>> Wrap<C> for Fault {
    type Connection = Faulty<C>;

    fn wrap(self, inner: C) -> Faulty<C> {
        Faulty {
            inner: Some(Box::pin(inner)),
            fault: self,
            events: VecDeque::new(),
            control: VecDeque::new(),
            ready: false,
            sent: 0,
            closes: 0,
        }
    }
}

impl<C: Connection> Faulty<C> {
    fn inner(&mut self) -> &mut Pin<Box<C>> {
        self.inner.as_mut().expect("it has not been dropped")
    }
}

impl<C: Connection> Drop for Faulty<C> {
    fn drop(&mut self) {
        if self.fault == Fault::OutlivesItsOwner {
            std::mem::forget(self.inner.take());
        }
    }
}

impl<C: Connection> Unpin for Faulty<C> {}

impl<C: Connection<Message: Clone>> Stream for Faulty<C> {
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let mut noop = Context::from_waker(Waker::noop());
        let cx = if self.fault == Fault::LosesTheReader {
            &mut noop
        } else {
            cx
        };
        let polled = self.inner().poll_next_unpin(cx);
        if polled.is_pending() && self.fault == Fault::ClosesWhenIdle && self.closes > 0 {
            let _ = self.inner().poll_close_unpin(cx);
        }
        let event = ready!(polled);
        match (self.fault, &event) {
            (Fault::SaysDownTwice, Some(Event::Down(_))) | (Fault::SaysDroppedTwice, Some(Event::Dropped(..))) => {
                self.events.push_back(event.clone());
            }
            (Fault::SpeaksAfterNone, Some(Event::Down(_))) => {
                self.events.extend([None, event.clone()]);
            }
            (Fault::SwallowsDown, Some(Event::Down(_))) | (Fault::SwallowsDropped, Some(Event::Dropped(..))) => {
                return self.poll_next(cx);
            }
            (Fault::Reorders, Some(Event::Message(_))) => {
                if let Poll::Ready(next) = self.inner().poll_next_unpin(cx) {
                    self.events.push_back(event);
                    return Poll::Ready(next);
                }
            }
            _ => {}
        }
        Poll::Ready(event)
    }
}

impl<C: Connection<Message: Clone>> Sink<Outgoing<C::Message>> for Faulty<C> {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if std::mem::take(&mut self.ready) && self.fault == Fault::TakesReadyBack {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut noop = Context::from_waker(Waker::noop());
        let cx = if self.fault == Fault::LosesTheWriter {
            &mut noop
        } else {
            cx
        };
        ready!(self.inner().poll_ready_unpin(cx))?;
        while let Some(control) = self.control.pop_front() {
            self.inner().start_send_unpin(control)?;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), Closed> {
        self.sent += 1;
        match self.fault {
            Fault::RefusesControl if !self.ready => return Err(Closed),
            Fault::HoldsControl if item.lane == Lane::Control => {
                self.control.push_back(item);
                return Ok(());
            }
            Fault::LosesMessages if self.sent.is_multiple_of(8) => return Ok(()),
            Fault::SendsTwice => {
                let copy = Outgoing::new(item.message.clone()).control();
                self.inner().start_send_unpin(item)?;
                return self.inner().start_send_unpin(copy);
            }
            Fault::StripsTickets => item.ticket = None,
            Fault::HoldsRefused => {
                self.events
                    .push_back(Some(Event::Dropped(item, DropReason::Refused("it is"))));
                return Ok(());
            }
            Fault::FailsWhenReady => {
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(Err(error)) = self.inner().poll_ready_unpin(&mut cx) {
                    return Err(error);
                }
            }
            _ => {}
        }
        self.inner().start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match self.fault {
            Fault::KeepsTheFlush => return Poll::Ready(Ok(())),
            // As a layer does that first asks whether its own items can move.
            Fault::FlushesWhenIdle => ready!(self.inner().poll_ready_unpin(cx))?,
            _ => {}
        }
        self.inner().poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.closes += 1;
        match self.fault {
            Fault::ReadsOnClose => while let Poll::Ready(Some(Event::Message(_))) = self.inner().poll_next_unpin(cx) {},
            Fault::KeepsTheClose | Fault::ClosesWhenIdle => return Poll::Ready(Ok(())),
            Fault::PanicsOnClose => assert_eq!(self.closes, 1, "closed twice"),
            _ => {}
        }
        self.inner().poll_close_unpin(cx)
    }
}
