//! Whoever waits gives up, or is answered, while the layers move the message: in every order that threads can take.

use loom::{model, thread};
use tower_ws_loom::{Phase, Ticket, TicketSteps};

/// What the lift does with a message in an epoch: whether it was written.
fn write(ticket: &Ticket, epoch: u64) -> bool {
    ticket.enter(epoch);
    ticket.mark_sent()
}

#[test]
fn what_was_cancelled_while_it_waited_is_not_written() {
    model(|| {
        let ticket = Ticket::new();
        let theirs = ticket.clone();
        let lift = thread::spawn(move || write(&theirs, 1));
        let was = ticket.cancel();
        let seen = ticket.may_have_been_seen();
        let written = lift.join().unwrap();
        assert_eq!(was == Phase::Waiting, !written, "{was:?}");
        assert_eq!(seen, written, "a caller who gave up knows the truth");
    });
}

#[test]
fn of_two_who_write_one_does() {
    model(|| {
        let ticket = Ticket::new();
        ticket.enter(1);
        let theirs = ticket.clone();
        let other = thread::spawn(move || theirs.mark_sent());
        let one = ticket.mark_sent();
        assert!(one != other.join().unwrap());
        assert_eq!(ticket.phase(), Phase::Sent(1));
    });
}

/// The connection goes down, ack keeps the message, and sends it on the next.
#[test]
fn what_is_sent_again_stops_where_it_is_cancelled() {
    model(|| {
        let ticket = Ticket::new();
        let theirs = ticket.clone();
        let layers = thread::spawn(move || {
            let first = write(&theirs, 1);
            let held = theirs.mark_held();
            let again = held && write(&theirs, 2);
            (first, held, again)
        });
        let was = ticket.cancel();
        let seen = ticket.may_have_been_seen();
        let (first, held, again) = layers.join().unwrap();
        assert!(!held || first, "only what was sent is held");
        match was {
            Phase::Waiting => assert!(!again, "{first} {held}"),
            Phase::Sent(1) => assert!(first && !held, "a message that nobody waits for is not kept"),
            Phase::Held => assert!(held && !again),
            Phase::Sent(2) => assert!(again),
            other => panic!("{other:?}"),
        }
        assert_eq!(seen, first);
        assert_eq!(ticket.may_have_been_seen(), first);
    });
}

/// The reply of the first connection comes while the message is on its way to the second.
#[test]
fn what_is_settled_goes_nowhere() {
    model(|| {
        let ticket = Ticket::new();
        assert!(write(&ticket, 1));
        let theirs = ticket.clone();
        let layers = thread::spawn(move || {
            let held = theirs.mark_held();
            let before = theirs.phase();
            (held, before, write(&theirs, 2))
        });
        ticket.settle();
        assert_eq!(ticket.phase(), Phase::Settled);
        let (held, before, again) = layers.join().unwrap();
        assert!(!again || (held && before == Phase::Held), "{held} {before:?}");
        assert_eq!(ticket.phase(), Phase::Settled, "for good");
        assert!(!ticket.mark_sent() && !ticket.mark_held());
        assert!(ticket.is_abandoned());
    });
}

/// A handle that asks never sees a message go back.
#[test]
fn whoever_looks_sees_it_go_forward() {
    fn rank(phase: Phase) -> u64 {
        match phase {
            Phase::Waiting => 0,
            Phase::Sent(1) => 1,
            Phase::Held => 2,
            Phase::Sent(_) => 4,
            Phase::Settled => 5,
        }
    }
    model(|| {
        let ticket = Ticket::new();
        ticket.enter(1);
        let theirs = ticket.clone();
        let layers = thread::spawn(move || {
            let _ = theirs.mark_sent() && theirs.mark_held();
            theirs.settle();
        });
        let (first, second) = (rank(ticket.phase()), rank(ticket.phase()));
        assert!(first <= second, "{first} before {second}");
        layers.join().unwrap();
    });
}
