//! The far end: it speaks JSON-RPC, and misbehaves when it is told to.

use std::{
    cell::{Ref, RefCell, RefMut},
    future::pending,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower_ws::transport::{Message, memory};
use tower_ws_test_kit::conformance::{Peer, Unsupported};

/// What the server was told to do, and what it has seen.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pages: RefCell<Pages>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    cut_at: Option<u64>,
    deaf_at: Option<u64>,
    seen: Vec<u64>,
    connections: usize,
    live: usize,
}

/// What carries text.
pub(crate) trait Text: Sized {
    fn of(text: String) -> Self;
    fn text(&self) -> Option<&str>;
}

/// The far end of a pair in memory.
pub(crate) struct Socket(pub(crate) memory::Socket<String>);

enum End {
    Gone,
    Deaf,
}

/// Serves each connection; one that is not read any more is held.
pub(crate) async fn serve<P, M>(mut accept: impl AsyncFnMut() -> Option<P>, book: &Book)
where
    P: Peer<M>,
    M: Text,
{
    let mut held = Vec::new();
    while let Some(mut peer) = accept().await {
        book.write().connections += 1;
        book.write().live += 1;
        if let End::Deaf = talk(&mut peer, book).await {
            held.push(peer);
        }
        book.write().live -= 1;
        book.changed.notify_waiters();
    }
}

async fn talk<P, M>(peer: &mut P, book: &Book) -> End
where
    P: Peer<M>,
    M: Text,
{
    while let Some(message) = peer.recv().await {
        let Some(asked) = message.text().and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
            continue;
        };
        if asked["method"] == "echo" {
            let n = asked["params"].as_u64().unwrap();
            book.write().seen.push(n);
            book.changed.notify_waiters();
            if book.write().cut_at.take_if(|at| *at == n).is_some() {
                let _ = peer.abort().await;
                return End::Gone;
            }
            if book.write().deaf_at.take_if(|at| *at == n).is_some() {
                return End::Deaf;
            }
        }
        let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
        peer.send(M::of(answer.to_string())).await;
    }
    End::Gone
}

// === impl Book ===

impl Book {
    /// Ends the connection, without a word, on which this one comes in first.
    pub(crate) fn cut_at(&self, n: u64) {
        self.write().cut_at = Some(n);
    }

    /// Stops reading when this one comes in first.
    pub(crate) fn deaf_at(&self, n: u64) {
        self.write().deaf_at = Some(n);
    }

    pub(crate) fn connections(&self) -> usize {
        self.read().connections
    }

    pub(crate) fn times(&self, n: u64) -> usize {
        self.read().seen.iter().filter(|seen| **seen == n).count()
    }

    /// Each once, in the order in which they came in first.
    pub(crate) fn first_seen(&self) -> Vec<u64> {
        let mut first: Vec<u64> = Vec::new();
        for n in &self.read().seen {
            if !first.contains(n) {
                first.push(*n);
            }
        }
        first
    }

    /// Waits for this one.
    pub(crate) async fn seen(&self, n: u64) {
        self.until(|pages| pages.seen.contains(&n)).await;
    }

    /// Waits until the server has seen the end of the last connection.
    pub(crate) async fn ended(&self) {
        self.until(|pages| pages.live == 0).await;
    }

    async fn until(&self, is_so: impl Fn(&Pages) -> bool) {
        loop {
            // Nothing else runs between the look and the wait: all of it is one task.
            if is_so(&self.read()) {
                return;
            }
            self.changed.notified().await;
        }
    }

    fn read(&self) -> Ref<'_, Pages> {
        self.pages.borrow()
    }

    fn write(&self) -> RefMut<'_, Pages> {
        self.pages.borrow_mut()
    }
}

// === impl Text ===

impl Text for String {
    fn of(text: String) -> Self {
        text
    }

    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Text for Message {
    fn of(text: String) -> Self {
        Self::text(text)
    }

    fn text(&self) -> Option<&str> {
        self.as_text()
    }
}

// === impl Socket ===

impl Peer<String> for Socket {
    async fn send(&mut self, message: String) {
        let _ = self.0.send(message).await;
    }

    async fn recv(&mut self) -> Option<String> {
        self.0.next().await?.ok()
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        // `serve` drops it at once.
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        pending().await
    }
}
