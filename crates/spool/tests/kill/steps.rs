//! The steps of a child, so that it can be stopped at each of them: whatever the spool asks of the
//! application, whatever is logged (the beginning and the end of each commit among it), and
//! whatever it says.

use std::sync::atomic::{AtomicU64, Ordering};

use tower_ws_ack::{Acknowledgement, Strategy};
use tower_ws_core::{Outgoing, Up};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

static LEFT: AtomicU64 = AtomicU64::new(0);

/// The process ends at the step of this number, as if it were killed. 0: it does not.
pub(crate) fn end_at(step: u64) {
    LEFT.store(step, Ordering::Relaxed);
    tracing::subscriber::set_global_default(Log).unwrap();
}

pub(crate) fn step() {
    if LEFT.load(Ordering::Relaxed) > 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Nothing is written, flushed or dropped any more.
        std::process::abort();
    }
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        step();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Clone)]
pub(crate) struct Stepped<S>(pub(crate) S);

impl<M, S: Strategy<M>> Strategy<M> for Stepped<S> {
    type Key = S::Key;

    fn awaits(&self, item: &Outgoing<M>) -> Option<S::Key> {
        step();
        self.0.awaits(item)
    }

    fn acknowledges(&self, message: &M) -> Option<Acknowledgement<S::Key>> {
        step();
        self.0.acknowledges(message)
    }

    fn is_safe(&self, item: &Outgoing<M>) -> bool {
        step();
        self.0.is_safe(item)
    }

    fn again(&mut self, item: &Outgoing<M>) -> Option<(S::Key, M)> {
        self.0.again(item)
    }

    fn translate(&self, answer: M, original: &S::Key) -> M {
        self.0.translate(answer, original)
    }

    fn came_up(&mut self, up: &mut Up) {
        step();
        self.0.came_up(up);
    }
}
