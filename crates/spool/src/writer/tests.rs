//! A disk that hangs, beneath a whole session, on a runtime with one thread.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::{sync::mpsc, thread};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_ws_core::{DropReason, Event, Outgoing, boxed};
use tower_ws_queue::QueueLayer;
use tower_ws_transport::memory;

use super::*;
use crate::{Unacknowledged, journal::Contents, options::SpoolOptions, spool::Spool};

const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(50);

/// Takes a batch, and does not come back before it is let go.
struct Hung(mpsc::Receiver<()>);

impl Journal for Hung {
    fn commit(&mut self, _: &Batch) -> Result<(), JournalError> {
        let _ = self.0.recv();
        Err(JournalError::Refused("it was hung".into()))
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_flushes_and_nothing_else() {
    let (let_go, hung) = mpsc::channel();
    let spool = Spool::<String, _>::new(Contents::default(), None, Unacknowledged, SpoolOptions::new());
    let shared = spool.core.shared.clone();
    let writer = thread::spawn(move || run(Hung(hung), shared));
    let (transport, mut listener) = memory::channel(8);
    let service = QueueLayer::new().drain(MOMENT).store(spool.clone()).layer(transport);
    let (session, peer) = tokio::join!(service.oneshot(()), listener.accept());
    let (mut session, mut peer) = (boxed(session.unwrap()), peer.unwrap());
    assert!(matches!(session.next().await, Some(Event::Up(_))));

    // What is sent waits for the disk, and so does the flush.
    assert!(
        timeout(MOMENT, session.send(Outgoing::new("record".to_owned())))
            .await
            .is_err()
    );
    assert!(peer.next().now_or_never().is_none());
    // What comes in is read, and the control lane goes on.
    peer.send("news".to_owned()).await.unwrap();
    let read = timeout(PATIENCE, session.next()).await.unwrap();
    assert!(matches!(read, Some(Event::Message(news)) if news == "news"));
    session.feed(Outgoing::new("pong".to_owned()).control()).await.unwrap();
    let pong = async {
        tokio::select! {
            pong = peer.next() => assert_eq!(pong.unwrap().unwrap(), "pong"),
            event = session.next() => panic!("{event:?}"),
        }
    };
    timeout(PATIENCE, pong).await.unwrap();
    // Closing waits for as long as the queue drains, and gives the message back.
    timeout(PATIENCE, session.close()).await.unwrap().unwrap();
    let mut back = Vec::new();
    while let Some(event) = timeout(PATIENCE, session.next()).await.unwrap() {
        if let Event::Dropped(item, reason) = event {
            back.push((item.record.is_some(), reason));
        }
    }
    assert_eq!(back, [(false, DropReason::Closed)], "it is not known to be recorded");
    // To wait for the file can be given up. Dropping waits for nothing.
    assert!(timeout(MOMENT, spool.close()).await.is_err());
    let handle = spool.handle();
    drop((session, spool));
    sleep(MOMENT).await;
    assert!(!writer.is_finished());
    drop(let_go);
    writer.join().unwrap();
    assert!(handle.snapshot().failure.is_some_and(|why| why.contains("hung")));
}
