//! What a test expects of a connection next: one function an event. Each panics if something else
//! comes, and says what, or if nothing comes within [`LIMIT`].
//!
//! ```
//! use tower_ws_core::{Failure, FailureKind};
//! use tower_ws_test_kit::{ManualConnection, expect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mut connection = ManualConnection::new();
//! connection.up();
//! connection.say("hello");
//! connection.down(Failure::new(FailureKind::Network, "gone"), false);
//! connection.end();
//!
//! assert_eq!(expect::up(&mut connection).await.epoch, 1);
//! assert_eq!(expect::message(&mut connection).await, "hello");
//! assert_eq!(expect::down(&mut connection).await.cause.kind(), FailureKind::Network);
//! expect::end(&mut connection).await;
//! # }
//! ```

use std::{future::Future, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;
use tower_ws_core::{Down, DropReason, Event, Outgoing, Up};

/// One second.
pub const SECOND: Duration = Duration::from_secs(1);

/// How long an event may take. Long enough for the deadlines of every layer, which pass at once
/// under a paused clock; [`within`] sets a shorter one.
pub const LIMIT: Duration = Duration::from_secs(600);

/// What the future gives.
///
/// # Panics
///
/// If that takes longer than the limit.
pub async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    match timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing came of it within {limit:?}"),
    }
}

/// The next event, whatever it is; `None` at the end.
async fn next<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin), expected: &str) -> Option<Event<M>> {
    match timeout(LIMIT, connection.next()).await {
        Ok(event) => event,
        Err(_) => panic!("expected {expected}, and nothing came within {LIMIT:?}"),
    }
}

/// The next event, whatever it is.
///
/// # Panics
///
/// If there is none.
pub async fn event<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> Event<M> {
    match next(connection, "an event").await {
        Some(event) => event,
        None => panic!("expected an event, got the end"),
    }
}

/// [`Event::Up`].
///
/// # Panics
///
/// If anything else comes.
pub async fn up<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> Up {
    match next(connection, "Up").await {
        Some(Event::Up(up)) => up,
        other => panic!("expected Up, got {other:?}"),
    }
}

/// [`Event::Message`].
///
/// # Panics
///
/// If anything else comes.
pub async fn message<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> M {
    match next(connection, "a message").await {
        Some(Event::Message(message)) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// [`Event::Delivered`].
///
/// # Panics
///
/// If anything else comes.
pub async fn delivered<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> Outgoing<M> {
    match next(connection, "Delivered").await {
        Some(Event::Delivered(item)) => item,
        other => panic!("expected Delivered, got {other:?}"),
    }
}

/// [`Event::Dropped`].
///
/// # Panics
///
/// If anything else comes.
pub async fn dropped<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> (Outgoing<M>, DropReason) {
    match next(connection, "Dropped").await {
        Some(Event::Dropped(item, reason)) => (item, reason),
        other => panic!("expected Dropped, got {other:?}"),
    }
}

/// [`Event::Down`].
///
/// # Panics
///
/// If anything else comes.
pub async fn down<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) -> Down {
    match next(connection, "Down").await {
        Some(Event::Down(down)) => down,
        other => panic!("expected Down, got {other:?}"),
    }
}

/// The end of the stream.
///
/// # Panics
///
/// If an event comes.
pub async fn end<M>(connection: &mut (impl Stream<Item = Event<M>> + Unpin)) {
    if let Some(event) = next(connection, "the end").await {
        panic!("expected the end, got {event:?}");
    }
}
