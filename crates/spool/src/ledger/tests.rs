//! Single cases of what [`proof`](super::proof) runs at random.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::task::Poll;

use bytes::Bytes;
use tokio::time::Instant;
use tower_ws_core::{Down, DropReason, Failure, FailureKind, Outgoing, Replay, Ticket, TicketSteps, Up};
use tower_ws_queue::{Held, MakeStore, Store};

use super::{
    proof::{Strategy, cx, spool},
    *,
};
use crate::{change::Change, journal::JournalError, spool::Spool};

fn held(text: &str, replay: Replay) -> Held<String> {
    Held::new(
        Outgoing::new(text.to_owned()).replay(replay),
        text.len(),
        Instant::now(),
    )
}

/// Takes a batch, and says what became of it.
fn commit(spool: &Spool<String, Strategy>, outcome: Result<(), JournalError>) {
    spool.core.shared.with(|ledger| {
        let batch = ledger.batch();
        match outcome {
            Ok(()) => ledger.committed(&batch),
            Err(error) => ledger.failed(batch, &error),
        };
    });
}

#[test]
fn an_unknown_commit_comes_back_as_interrupted_and_is_taken_off_the_disk() {
    let spool = spool(Vec::new());
    let mut store = spool.make_store();
    for (error, expected) in [
        (JournalError::Unknown("a flush failed".into()), "interrupted"),
        (JournalError::Refused("full".into()), "refused"),
    ] {
        store.push_back(held("k1", Replay::Safe)).unwrap();
        commit(&spool, Err(error));
        assert!(store.poll_leave(&mut cx()).is_pending() && store.poll_kept(&mut cx()).is_ready());
        let (mut held, reason) = store.given_up().unwrap();
        assert_eq!(reason.as_str(), expected);
        assert_eq!(store.dropped(&mut held.item, reason.clone()), Some(reason));
        // Once whoever reads has come back.
        let _ = store.poll_kept(&mut cx());
        let pending = spool.core.shared.with(|ledger| ledger.relief().changes.iter().count());
        assert_eq!(pending, usize::from(expected == "interrupted"));
        assert_eq!(spool.handle().snapshot().messages, 0);
    }
}

#[test]
fn what_is_not_known_to_be_recorded_holds_up_no_later_session() {
    let spool = spool(Vec::new());
    let mut store = spool.make_store();
    store.push_back(held("k1", Replay::Safe)).unwrap();
    commit(&spool, Err(JournalError::Unknown("a flush failed".into())));
    // Nobody was told, and nobody was told that it is kept.
    drop(store);
    let store = spool.make_store();
    assert!(store.is_empty() && spool.handle().snapshot().messages == 0);
    assert!(
        spool.core.shared.with(|ledger| ledger.has_work()),
        "it is taken off the disk"
    );
}

#[test]
fn a_mark_that_failed_is_made_again_before_anything_leaves() {
    let spool = spool(Vec::new());
    let mut store = spool.make_store();
    store.push_back(held("k1", Replay::Unsafe)).unwrap();
    commit(&spool, Ok(()));
    for _ in 0..3 {
        assert!(store.poll_leave(&mut cx()).is_pending());
        commit(&spool, Err(JournalError::Refused("full".into())));
    }
    assert!(store.poll_leave(&mut cx()).is_pending());
    commit(&spool, Ok(()));
    assert!(store.poll_leave(&mut cx()).is_ready());
}

#[test]
fn what_was_not_flushed_goes_again_or_is_interrupted_and_no_other_flush_settles_it() {
    let spool = spool(Vec::new());
    let mut store = spool.make_store();
    let texts = ["n1 safe", "n2 unsafe", "n3 never written", "n4 returned"];
    for text in texts {
        let replay = if text == "n1 safe" {
            Replay::Safe
        } else {
            Replay::Unsafe
        };
        store.push_back(held(text, replay)).unwrap();
    }
    store.came_up(&mut Up::new());
    commit(&spool, Ok(()));
    let mut out = Vec::new();
    while !store.is_empty() {
        match store.poll_leave(&mut cx()) {
            Poll::Ready(held) => out.extend(held),
            Poll::Pending => commit(&spool, Ok(())),
        }
    }
    // The callers' tickets, and where there is none, one of the store's.
    let tickets: Vec<Ticket> = out.iter().map(|held| held.item.ticket.clone().unwrap()).collect();
    assert!(tickets[..2].iter().all(TicketSteps::mark_sent));
    assert_eq!(store.dropped(&mut out[3].item, DropReason::Disconnected), None);
    let mut down = Down::new(Failure::new(FailureKind::Network, "cut"));
    down.will_retry = true;
    store.went_down(&down);
    let (mut lost, reason) = store.given_up().unwrap();
    assert_eq!(lost.item.message, "n2 unsafe");
    assert!(matches!(&reason, DropReason::Interrupted(Some(_))), "{reason:?}");
    store.dropped(&mut lost.item, reason);
    assert!(store.given_up().is_none());
    store.came_up(&mut Up::new());
    store.flushed();
    assert_eq!(spool.handle().snapshot().messages, 3);
    let again = store.take_if(&mut |_| true).into_iter().map(|held| held.item.message);
    assert!(again.eq(["n1 safe", "n3 never written", "n4 returned"]));
}

#[test]
fn after_the_end_nothing_leaves_and_what_is_recorded_is_kept() {
    let spool = spool(Vec::new());
    let mut store = spool.make_store();
    let ticket = Ticket::new();
    let mut waited = held("k1", Replay::Safe);
    waited.item.ticket = Some(ticket);
    store.push_back(waited).unwrap();
    store.push_back(held("k2", Replay::Unsafe)).unwrap();
    commit(&spool, Ok(()));
    store.push_back(held("k3", Replay::Safe)).unwrap();
    spool.core.shared.with(Ledger::ended);
    assert!(store.poll_leave(&mut cx()).is_pending());
    let mut back = Vec::new();
    while let Some((mut held, reason)) = store.given_up() {
        let reason = store.dropped(&mut held.item, reason).unwrap();
        back.push((held.item.message, reason.as_str(), held.item.record.is_some()));
    }
    back.sort_unstable();
    let expected = [
        // Somebody waits, and nobody can keep the next process from sending it.
        ("k1".to_owned(), "interrupted", false),
        ("k2".to_owned(), "closed", true),
        ("k3".to_owned(), "refused", false),
    ];
    assert_eq!(back, expected);
    let (_, reason) = store.push_back(held("k4", Replay::Safe)).unwrap_err();
    assert_eq!(reason, DropReason::Refused(CLOSED));
}

/// Another process has it: what is being written may be found by that one, and its outcome, which
/// comes after the end, is nobody's business.
#[test]
fn what_is_lost_in_the_middle_of_a_commit_is_interrupted_and_what_was_to_be_written_refused() {
    for outcome in [
        Ok(()),
        Err(JournalError::Unknown("a flush failed".into())),
        Err(JournalError::Lost("another has it".into())),
    ] {
        let spool = spool(Vec::new());
        let mut store = spool.make_store();
        store.push_back(held("k1", Replay::Safe)).unwrap();
        commit(&spool, Ok(()));
        store.push_back(held("k2", Replay::Safe)).unwrap();
        let batch = spool.core.shared.with(Ledger::batch);
        store.push_back(held("k3", Replay::Safe)).unwrap();
        spool.core.shared.lose();
        spool.core.shared.with(|ledger| match outcome {
            Ok(()) => ledger.committed(&batch),
            Err(error) => ledger.failed(batch, &error),
        });
        assert!(store.poll_leave(&mut cx()).is_pending() && store.poll_kept(&mut cx()).is_ready());
        let mut back = Vec::new();
        while let Some((mut held, reason)) = store.given_up() {
            let reason = store.dropped(&mut held.item, reason).unwrap();
            back.push((held.item.message, reason.as_str(), held.item.record.is_some()));
        }
        back.sort_unstable();
        let expected = [
            ("k1", "closed", true),
            ("k2", "interrupted", false),
            ("k3", "refused", false),
        ];
        assert_eq!(
            back,
            expected.map(|(text, reason, kept)| (text.to_owned(), reason, kept))
        );
    }
}

#[test]
fn changes_are_never_more_than_what_is_recorded() {
    let mut changes = Changes::default();
    let row = Row {
        seq: 1,
        accepted: 0,
        deadline: None,
        replay: Replay::Unsafe,
        leaving: false,
        size: 1,
        payload: Bytes::new(),
    };
    changes.put(row);
    changes.mark(1, true);
    assert!(matches!(changes.iter().next(), Some((1, Change::Put(row))) if row.leaving));
    changes.remove(1);
    assert!(changes.is_empty() && changes.puts() == 0);
    changes.mark(2, true);
    changes.remove(2);
    changes.mark(2, false);
    changes.mark(3, false);
    changes.mark(4, true);
    let relief: Vec<u64> = changes.take_relief().iter().map(|(seq, _)| seq).collect();
    assert_eq!(relief, [2, 3]);
    changes.restore(4, Change::Remove);
    assert!(matches!(changes.iter().next(), Some((4, Change::Mark(true)))));
}
