//! A connection on strings: the test says what comes up, and sees what went down.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_util::{Sink, Stream};
use tokio::time::Instant;
use tower_ws_core::{BoxError, Close, Down, DropReason, Event, Failure, FailureKind, Outgoing, TicketSteps, Up};

#[derive(Clone, Debug, Default)]
pub(crate) struct Puppet(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    events: VecDeque<Option<Event<String>>>,
    sent: Vec<String>,
    /// How many more messages it takes.
    room: usize,
    broken: bool,
    flushes: usize,
    waiting: Vec<Waker>,
}

/// The number that a message begins with.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

pub(crate) fn down(will_retry: bool, code: Option<u16>) -> Event<String> {
    let mut down = Down::new(match code {
        Some(code) => Failure::closed(Close {
            code,
            reason: String::new(),
        }),
        None => Failure::new(FailureKind::Network, "gone"),
    });
    down.will_retry = will_retry;
    Event::Down(down)
}

impl Puppet {
    pub(crate) fn up(&self) {
        self.edit(|state| {
            state.epoch += 1;
            state.room = usize::MAX;
            state.broken = false;
        });
        self.event(Event::Up(Up::new()));
    }

    pub(crate) fn say(&self, text: &str) {
        self.event(Event::Message(text.to_owned()));
    }

    pub(crate) fn event(&self, event: Event<String>) {
        self.edit(|state| state.events.push_back(Some(event)));
    }

    pub(crate) fn end(&self) {
        self.edit(|state| state.events.push_back(None));
    }

    pub(crate) fn takes(&self, messages: usize) {
        self.edit(|state| state.room = messages);
    }

    /// From here on it is ready, and gives everything back.
    pub(crate) fn breaks(&self) {
        self.edit(|state| state.broken = true);
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.edit(|state| state.sent.clone())
    }

    /// What has been sent after so many.
    pub(crate) fn sent_after(&self, messages: usize) -> Vec<String> {
        self.edit(|state| state.sent[messages..].to_vec())
    }

    pub(crate) fn flushes(&self) -> usize {
        self.edit(|state| state.flushes)
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        let out = edit(&mut state);
        state.waiting.drain(..).for_each(Waker::wake);
        out
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.0.lock().unwrap().waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Stream for Puppet {
    type Item = Event<String>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = self.0.lock().unwrap().events.pop_front();
        match event {
            Some(event) => Poll::Ready(event),
            None => self.wait(cx),
        }
    }
}

impl Sink<Outgoing<String>> for Puppet {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let room = self.0.lock().unwrap().room;
        match room {
            0 => self.wait(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<String>) -> Result<(), BoxError> {
        let mut state = self.0.lock().unwrap();
        if state.broken {
            state
                .events
                .push_back(Some(Event::Dropped(item, DropReason::Disconnected)));
            return Ok(());
        }
        // The last look, as the lift has it.
        if item.drop_reason(Instant::now()) == Some(DropReason::Expired) {
            state.events.push_back(Some(Event::Dropped(item, DropReason::Expired)));
            return Ok(());
        }
        if let Some(ticket) = &item.ticket {
            ticket.enter(state.epoch);
            if !ticket.mark_sent() {
                state
                    .events
                    .push_back(Some(Event::Dropped(item, DropReason::Cancelled)));
                return Ok(());
            }
        }
        state.room = state.room.saturating_sub(1);
        state.sent.push(item.message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.lock().unwrap().flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
}
