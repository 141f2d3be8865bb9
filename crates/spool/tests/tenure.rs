//! A journal of one's own, whose records may become another's.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{arrivals, message, numbers, session, within};
use tower_ws_core::{DropReason, Event, Failure, FailureKind};
use tower_ws_spool::{Batch, Contents, Journal, JournalError, SpoolOptions, Tenure};

#[derive(Clone, Default)]
struct Shared(Arc<State>);

#[derive(Default)]
struct State {
    lost: AtomicBool,
    reader: Mutex<Vec<Waker>>,
    commits: Mutex<usize>,
}

impl Journal for Shared {
    fn commit(&mut self, _: &Batch) -> Result<(), JournalError> {
        *self.0.commits.lock().unwrap() += 1;
        Ok(())
    }

    fn tenure(&self) -> Option<Arc<dyn Tenure>> {
        Some(self.0.clone())
    }
}

impl Tenure for State {
    fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.lost.load(Ordering::SeqCst) {
            return Poll::Ready(Failure::new(FailureKind::Policy, "another has it"));
        }
        self.reader.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    }
}

impl Shared {
    /// As a clock does that has run out: nobody is woken.
    fn lose(&self) {
        self.0.lost.store(true, Ordering::SeqCst);
    }

    fn wake(&self) {
        self.0.reader.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

#[tokio::test]
async fn from_the_moment_that_it_is_lost_nothing_leaves_and_the_session_ends_with_the_cause() {
    let shared = Shared::default();
    let options = SpoolOptions::new();
    let spool = options.over(shared.clone(), Contents::default(), numbers()).unwrap();
    let (mut session, mut peer, _listener) = session(&spool).await;
    within(session.send(message("1 one"))).await.unwrap();
    assert_eq!(arrivals(&mut session, &mut peer, 1).await, ["1 one"]);
    assert!(session.next().now_or_never().is_none());
    // Nobody has looked at the clock yet when the next is sent.
    shared.lose();
    session.feed(message("2 two")).await.unwrap();
    let _ = session.flush().now_or_never();
    shared.wake();
    let mut events = Vec::new();
    while let Some(event) = within(session.next()).await {
        events.push(event);
    }
    let [Event::Dropped(two, reason), Event::Down(down)] = &events[..] else {
        panic!("{events:?}")
    };
    // It had got to the journal, or it had not.
    assert!(
        matches!(
            reason,
            DropReason::Interrupted(_) | DropReason::Refused(_) | DropReason::Closed
        ),
        "{reason}"
    );
    assert_eq!((two.message.as_str(), down.will_retry), ("2 two", false));
    assert_eq!(down.cause.to_string(), "another has it");
    assert!(
        peer.next().await.is_none_or(|said| said.is_err()),
        "nothing else was written"
    );
    within(spool.close()).await;
}

#[tokio::test]
async fn what_it_holds_is_brought_along_and_must_be_readable() {
    let shared = Shared::default();
    let row = tower_ws_spool::Row {
        seq: 3,
        accepted: 0,
        deadline: None,
        replay: tower_ws_core::Replay::Safe,
        leaving: false,
        size: 5,
        payload: bytes::Bytes::from_static(b"3 old"),
    };
    let mut contents = Contents {
        rows: vec![row],
        first_id: 9,
    };
    let spool = SpoolOptions::new()
        .over::<String, _>(shared.clone(), contents.clone(), numbers())
        .unwrap();
    assert_eq!(spool.handle().snapshot().recovered, 1);
    contents.rows[0].payload = bytes::Bytes::from_static(b"\xFF");
    let error = SpoolOptions::new()
        .over::<String, _>(shared, contents, numbers())
        .unwrap_err();
    assert!(error.to_string().contains("record 3"), "{error}");
}
