//! The laws that every layer keeps, for a queue over a spool: beside a disk that takes its time,
//! and beside one that seems to take none, where a paused clock lets outages pass.

mod support;

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use tempfile::TempDir;
use tower::layer::util::Stack;
use tower_ws_core::{Down, DropReason, Outgoing, TicketSteps, Up};
use tower_ws_queue::{Held, MakeStore, QueueLayer, Store};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_spool::{Spool, SpoolOptions, SpoolStore, Survives, Unacknowledged};
use tower_ws_test_kit::conformance::{Outcome, Suite};

type File = Spool<String, Unacknowledged>;

/// A file for each session: the suite has several at a time, each of which begins with nothing.
struct Files {
    folder: TempDir,
    made: AtomicUsize,
}

impl Files {
    fn new() -> &'static Self {
        let (folder, made) = (tempfile::tempdir().expect("a folder"), AtomicUsize::new(0));
        // Until the test ends.
        Box::leak(Box::new(Self { folder, made }))
    }

    fn next(&self) -> File {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{n}.db"));
        // What the disk does with it is not looked at here.
        let options = SpoolOptions::new().survives(Survives::Crash);
        options.open(path, Unacknowledged).expect("a new file")
    }
}

#[derive(Clone, Copy)]
struct Slow(&'static Files);

impl MakeStore<String> for Slow {
    type Store = SpoolStore<String, Unacknowledged>;

    fn make_store(&self) -> Self::Store {
        self.0.next().make_store()
    }
}

/// Waits for the disk where it is asked, so that no time passes for the tasks.
#[derive(Clone, Copy)]
struct Fast(&'static Files);

struct Waits(SpoolStore<String, Unacknowledged>);

impl MakeStore<String> for Fast {
    type Store = Waits;

    fn make_store(&self) -> Waits {
        Waits(self.0.next().make_store())
    }
}

fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match poll(&mut cx) {
            Poll::Pending => std::thread::yield_now(),
            ready => return ready,
        }
    }
}

impl Store<String> for Waits {
    fn push_back(&mut self, held: Held<String>) -> Result<(), (Held<String>, DropReason)> {
        self.0.push_back(held)
    }

    fn front(&self) -> Option<&Held<String>> {
        self.0.front()
    }

    fn pop_front(&mut self) -> Option<Held<String>> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<String>) -> bool) -> Vec<Held<String>> {
        self.0.take_if(wanted)
    }

    fn writes_ahead(&self) -> bool {
        self.0.writes_ahead()
    }

    fn poll_leave(&mut self, _: &mut Context<'_>) -> Poll<Option<Held<String>>> {
        wait(|cx| self.0.poll_leave(cx))
    }

    fn poll_kept(&mut self, _: &mut Context<'_>) -> Poll<()> {
        wait(|cx| self.0.poll_kept(cx))
    }

    fn given_up(&mut self) -> Option<(Held<String>, DropReason)> {
        self.0.given_up()
    }

    fn awaits_flush(&self) -> bool {
        self.0.awaits_flush()
    }

    fn flushed(&mut self) {
        self.0.flushed();
    }

    fn settled(&mut self, item: &mut Outgoing<String>) {
        self.0.settled(item);
    }

    fn dropped(&mut self, item: &mut Outgoing<String>, reason: DropReason) -> Option<DropReason> {
        self.0.dropped(item, reason)
    }

    fn heard(&mut self, message: &String) {
        self.0.heard(message);
    }

    fn came_up(&mut self, up: &mut Up) {
        self.0.came_up(up);
    }

    fn went_down(&mut self, down: &Down) {
        self.0.went_down(down);
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    let queue = QueueLayer::new().store(Fast(Files::new()));
    let report = Suite::layer(queue).holds_messages().seeds(0..8).run().await;
    for law in ["control_is_passed_on_at_once", "a_flush_reaches_below"] {
        assert_eq!(report.of(law), Some(Outcome::Held), "{report}");
    }
}

/// Those of the laws in which somebody waits: here it is the thread that writes who wakes him.
#[tokio::test]
async fn it_keeps_the_laws_beside_a_disk_that_takes_its_time() {
    let queue = QueueLayer::new().store(Slow(Files::new()));
    let suite = Suite::layer(queue)
        .holds_messages()
        .seeds(0..8)
        .patience(support::PATIENCE);
    suite.order_is_kept().await;
    suite.a_writer_on_another_task_is_woken().await;
    suite.cancelling_a_send_is_safe().await;
    suite.every_message_ends_once().await;
    suite.a_cancelled_ticket_is_never_written().await;
    suite.tickets_move_forward().await;
    suite.a_flush_reaches_below().await;
    suite.control_is_passed_on_at_once().await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_over_a_reconnect() {
    let queue = QueueLayer::new().messages(5).store(Fast(Files::new()));
    let stack = Stack::new(ReconnectLayer::new().seed(1), queue);
    Suite::layer(stack).redials().holds_messages().seeds(0..8).run().await;
}

/// A store that is a plain list and one that is a spool cannot be told apart, but by what outlives
/// them.
#[tokio::test]
async fn it_is_a_list_like_any_other() {
    let files = Files::new();
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let spool = files.next();
        let mut store = spool.make_store();
        let mut list: std::collections::VecDeque<Held<String>> = Default::default();
        let now = tokio::time::Instant::now();
        for n in 0..rng.u32(1..120) {
            match rng.u8(0..8) {
                0..4 => {
                    let held = Held::new(Outgoing::new(format!("{seed} {n}")), rng.usize(0..9), now);
                    list.push_back(held.clone());
                    assert!(store.push_back(held).is_ok());
                }
                4 | 5 => {
                    poll_fn(|cx| store.poll_kept(cx)).await;
                    let (ours, theirs) = (poll_fn(|cx| store.poll_leave(cx)).await, list.pop_front());
                    if let Some(ticket) = ours.as_ref().and_then(|held| held.item.ticket.as_ref()) {
                        assert!(ticket.mark_sent());
                    }
                    assert_eq!(ours.map(|held| held.item.message), theirs.map(|held| held.item.message));
                    store.flushed();
                }
                6 => {
                    let odd = rng.usize(2..5);
                    let mut wanted = |held: &Held<String>| held.item.message.len().is_multiple_of(odd);
                    let ours = store.take_if(&mut wanted).into_iter();
                    let ours = ours.map(|mut held| {
                        store.dropped(&mut held.item, DropReason::Expired);
                        held.item.message
                    });
                    let theirs = Store::take_if(&mut list, &mut wanted)
                        .into_iter()
                        .map(|held| held.item.message);
                    assert!(ours.eq(theirs), "seed {seed}");
                    poll_fn(|cx| store.poll_kept(cx)).await;
                }
                _ if rng.bool() => {
                    // The session ends, and the next begins with what it left.
                    drop(store);
                    store = spool.make_store();
                }
                _ => {}
            }
            assert_eq!(
                (store.len(), store.is_empty()),
                (list.len(), list.is_empty()),
                "seed {seed}"
            );
            let (ours, theirs) = (store.front(), list.front());
            assert_eq!(
                ours.map(|held| (&held.item.message, held.bytes)),
                theirs.map(|held| (&held.item.message, held.bytes))
            );
            assert_eq!(spool.handle().snapshot().messages, list.len(), "seed {seed}");
        }
    }
}
