//! A layer of your own in the recommended stack.
//!
//! It shows what passes on the wire. Right above the transport it sees each message that is sent,
//! also one that goes a second time: here the server cuts the connection in the middle of a call
//! that may be sent again.
//!
//! ```text
//! cargo run --example own_layer
//! ```

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, Stream};
use pin_project::pin_project;
use serde_json::{Value, json};
use tower::{Layer, Service};
use tower_ws::{
    Message, Request,
    core::{BoxError, Closed, Connection, Event, MapConnection, Outgoing, Replay, Wrap, forward_sink},
};
use tower_ws_test_kit::{Cut, Script, Server};

// The layer begins here.

/// Shows each message that passes, with an arrow, to a closure.
#[derive(Clone)]
pub(crate) struct TapLayer<F>(pub(crate) F);

#[derive(Clone)]
pub(crate) struct Tap<S, F> {
    inner: S,
    show: F,
}

#[pin_project]
pub(crate) struct Tapped<C, F> {
    #[pin]
    inner: C,
    show: F,
}

impl<S, F: Clone> Layer<S> for TapLayer<F> {
    type Service = Tap<S, F>;
    fn layer(&self, inner: S) -> Tap<S, F> {
        let show = self.0.clone();
        Tap { inner, show }
    }
}

impl<S: Service<T, Response: Connection>, T, F: Clone> Service<T> for Tap<S, F> {
    type Response = Tapped<S::Response, F>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, TapLayer<F>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), TapLayer(self.show.clone()))
    }
}

impl<C, F> Wrap<C> for TapLayer<F> {
    type Connection = Tapped<C, F>;
    fn wrap(self, inner: C) -> Tapped<C, F> {
        Tapped { inner, show: self.0 }
    }
}

impl<C: Connection, F: Fn(&str, &C::Message)> Stream for Tapped<C, F> {
    type Item = C::Item;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        let this = self.project();
        let mut polled = this.inner.poll_next(cx);
        match &mut polled {
            Poll::Ready(Some(Event::Up(up))) => up.layers.push("tap"),
            Poll::Ready(Some(Event::Message(message))) => (this.show)("<-", message),
            _ => {}
        }
        polled
    }
}

impl<C: Connection, F: Fn(&str, &C::Message)> Sink<Outgoing<C::Message>> for Tapped<C, F> {
    type Error = Closed;
    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        (self.show)("->", &item.message);
        self.project().inner.start_send(item)
    }
    forward_sink!(polls inner);
}

// The layer ends here.

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let server = Server::start(Script::json_rpc()).await?;
    server.play(Script::Flaky {
        answers: 1,
        cut: Cut::Rst,
    });

    let tap =
        TapLayer(|arrow: &str, message: &Message| println!("{arrow} {}", message.as_text().unwrap_or("(no text)")));
    let (client, _inbound) = tower_ws::builder(server.url()).layer(tap).connect().await?;

    for n in 1..=2 {
        let request = Request::new("echo").params(&json!({ "n": n }))?.replay(Replay::Safe);
        let answer: Value = client.send(request).await?.result()?;
        assert_eq!(answer["n"], n);
    }
    println!("the second call was sent {} times", server.received().len() - 1);
    Ok(())
}
