//! A writer on another task than the reader: it is woken when the connection is cut off.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tower::{Layer, ServiceExt};
use tower_ws_core::{Event, Outgoing, boxed};
use tower_ws_crypto::{CryptoLayer, Hello, Key, KeyRing, Role};
use tower_ws_test_kit::{
    ManualDialer,
    expect::{SECOND, within},
};

/// Which method of the sink the writer waits in.
#[derive(Clone, Copy)]
enum Waits {
    Flush,
    Close,
}

async fn is_woken(waits: Waits) {
    let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32]).unwrap());
    let dialer = ManualDialer::new();
    let manual = dialer.accepts();
    let theirs = Hello::new(Role::Server).unwrap();
    manual.say(Bytes::from(theirs.to_bytes().to_vec()));
    let service = CryptoLayer::new(ring).layer(dialer);
    let connected = service.oneshot(()).await.unwrap();
    manual.set_flush(false);
    // Both halves by one lock: those of `StreamExt::split` poll readiness in a flush, too.
    let connection = Arc::new(Mutex::new(boxed(connected)));
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
    assert!(!writer.is_finished(), "it waits");
    let nonsense = Bytes::from_static(b"nothing that was sealed");
    manual.say(nonsense);
    assert!(matches!(next().await, Some(Event::Down(_))));
    let ended = within(30 * SECOND, writer).await;
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
