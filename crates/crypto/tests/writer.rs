//! A writer on another task than the reader: it is woken when the connection is cut off.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{BoxError, Event, Outgoing, Up, Verbatim, boxed};
use tower_ws_crypto::{CryptoLayer, Hello, Key, KeyRing, Role};

/// A connection whose peer reads only the hello: what is written after it is never flushed.
struct Stuck {
    events: mpsc::UnboundedReceiver<Event<Bytes>>,
    sent: mpsc::UnboundedSender<Bytes>,
    written: usize,
}

impl Stream for Stuck {
    type Item = Event<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx)
    }
}

impl Sink<Outgoing<Bytes>> for Stuck {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<Bytes>) -> Result<(), BoxError> {
        self.written += 1;
        let _ = self.sent.send(item.message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.written {
            0 | 1 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }
}

/// Which method of the sink the writer waits in.
#[derive(Clone, Copy)]
enum Waits {
    Flush,
    Close,
}

async fn is_woken(waits: Waits) {
    let (event, events) = mpsc::unbounded_channel();
    let (sent, mut hello) = mpsc::unbounded_channel();
    let mut stuck = Some(Stuck {
        events,
        sent,
        written: 0,
    });
    event.send(Event::Up(Up::new())).unwrap();
    let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32]).unwrap());
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(stuck.take().unwrap())));
    let service = CryptoLayer::new(Verbatim, ring).layer(dial);
    let connecting = tokio::spawn(service.oneshot(()));
    let theirs = Hello::new(Role::Server).unwrap();
    hello.recv().await.unwrap();
    event.send(Event::Message(theirs.to_bytes().to_vec().into())).unwrap();
    // Both halves by one lock: those of `StreamExt::split` poll readiness in a flush, too.
    let connection = Arc::new(Mutex::new(boxed(connecting.await.unwrap().unwrap())));
    let next = || poll_fn(|cx| connection.lock().unwrap().poll_next_unpin(cx));
    assert!(matches!(next().await, Some(Event::Up(_))));

    let item = Outgoing::new(Bytes::from_static(b"hello"));
    connection.lock().unwrap().start_send_unpin(item).unwrap();
    let sink = connection.clone();
    // Not in a timeout of its own, which would poll it again.
    let writer = tokio::spawn(poll_fn(move |cx| match waits {
        Waits::Flush => sink.lock().unwrap().poll_flush_unpin(cx),
        Waits::Close => sink.lock().unwrap().poll_close_unpin(cx),
    }));
    tokio::task::yield_now().await;
    let nonsense = Bytes::from_static(b"nothing that was sealed");
    event.send(Event::Message(nonsense)).unwrap();
    assert!(matches!(next().await, Some(Event::Down(_))));
    let ended = timeout(Duration::from_secs(30), writer)
        .await
        .expect("the writer sleeps on");
    assert_eq!(ended.unwrap().is_err(), matches!(waits, Waits::Flush));
}

#[tokio::test(start_paused = true)]
async fn one_who_flushes_is_woken() {
    is_woken(Waits::Flush).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_closes_is_woken() {
    is_woken(Waits::Close).await;
}
