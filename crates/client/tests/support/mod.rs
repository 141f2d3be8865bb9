//! A connection that a test holds in its hands.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use serde_json::{Value, json};
use tower_ws_client::{Client, ClientLayer, Inbound};
use tower_ws_core::{
    Closed, Down, Event, Failure, FailureKind, Lane, Outgoing, TicketSteps, Up,
    jsonrpc::{Codec, Decoded, Malformed},
};

/// One JSON text a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text;

impl Codec<String> for Text {
    fn encode(&self, json: Bytes) -> Result<String, Malformed> {
        String::from_utf8(json.into()).map_err(|_| Malformed::Utf8)
    }
    fn text<'m>(&self, message: &'m String) -> Option<&'m [u8]> {
        Some(message.as_bytes())
    }
    fn decode(&self, message: String) -> Decoded {
        Decoded::Json(message.into())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Puppet(Arc<Mutex<Strings>>);

#[derive(Default)]
pub(crate) struct Strings {
    events: VecDeque<Option<Event<String>>>,
    /// What the connection took, and in which lane.
    pub sent: Vec<(Lane, Value)>,
    /// Accepted and not written, as a layer that queues would.
    pub held: Vec<Outgoing<String>>,
    pub flushes: usize,
    pub ready: bool,
    pub flushable: bool,
    /// Keep messages instead of writing them.
    pub hold: bool,
    pub closed: bool,
    epoch: u64,
    wakers: Vec<Waker>,
}

impl Puppet {
    /// A connection that is up, with its client.
    pub(crate) fn start(layer: &ClientLayer<Text>) -> (Self, Client, Inbound) {
        let puppet = Self::default();
        puppet.up();
        let (client, inbound, driver) = layer.pair(puppet.clone());
        tokio::spawn(driver);
        (puppet, client, inbound)
    }

    pub(crate) fn pull<T>(&self, f: impl FnOnce(&mut Strings) -> T) -> T {
        let mut strings = self.0.lock().unwrap();
        let result = f(&mut strings);
        strings.wakers.drain(..).for_each(Waker::wake);
        result
    }

    pub(crate) fn event(&self, event: Event<String>) {
        self.pull(|s| s.events.push_back(Some(event)));
    }

    pub(crate) fn say(&self, text: &Value) {
        self.event(Event::Message(text.to_string()));
    }

    pub(crate) fn answer(&self, id: u64, result: &Value) {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    pub(crate) fn up(&self) {
        let mut up = Up::new();
        up.epoch = self.pull(|s| {
            (s.ready, s.flushable) = (true, true);
            s.epoch += 1;
            s.epoch
        });
        self.event(Event::Up(up));
    }

    pub(crate) fn down(&self, will_retry: bool) {
        let mut down = Down::new(Failure::new(FailureKind::Network, "the cable was pulled"));
        down.will_retry = will_retry;
        down.epoch = self.pull(|s| {
            s.ready = false;
            s.epoch
        });
        self.event(Event::Down(down));
        if !will_retry {
            self.end();
        }
    }

    pub(crate) fn end(&self) {
        self.pull(|s| s.events.push_back(None));
    }

    /// What was written so far, once everything has come to rest.
    pub(crate) async fn sent(&self) -> Vec<Value> {
        settle().await;
        self.pull(|s| s.sent.iter().map(|(_, value)| value.clone()).collect())
    }
}

/// Lets every task run until all of them wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Stream for Puppet {
    type Item = Event<String>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut strings = self.0.lock().unwrap();
        match strings.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                strings.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Outgoing<String>> for Puppet {
    type Error = Closed;
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut strings = self.0.lock().unwrap();
        if strings.ready || strings.hold {
            return Poll::Ready(Ok(()));
        }
        strings.wakers.push(cx.waker().clone());
        Poll::Pending
    }
    fn start_send(self: Pin<&mut Self>, item: Outgoing<String>) -> Result<(), Closed> {
        let mut strings = self.0.lock().unwrap();
        if strings.closed {
            return Err(Closed);
        }
        if strings.hold {
            strings.held.push(item);
            return Ok(());
        }
        if let Some(ticket) = &item.ticket {
            ticket.enter(strings.epoch);
            assert!(ticket.mark_sent(), "a cancelled message reached the socket");
        }
        let value = serde_json::from_str(&item.message).unwrap();
        strings.sent.push((item.lane, value));
        Ok(())
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut strings = self.0.lock().unwrap();
        if strings.flushable {
            strings.flushes += 1;
            return Poll::Ready(Ok(()));
        }
        strings.wakers.push(cx.waker().clone());
        Poll::Pending
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let first = self.pull(|s| !std::mem::replace(&mut s.closed, true));
        if first {
            let held = self.pull(|s| std::mem::take(&mut s.held));
            for outgoing in held {
                self.event(Event::Dropped(outgoing, tower_ws_core::DropReason::Closed));
            }
            self.event(Event::Down(Down::new(Failure::closed_locally())));
            self.pull(|s| s.events.push_back(None));
        }
        Poll::Ready(Ok(()))
    }
}
