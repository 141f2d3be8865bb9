use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The two tasks that may wait on one socket: one reads, one writes.
///
/// A socket keeps one waker for its write side. Whoever polls last takes the other's place, so a reader that pushes
/// out a pong would silence a writer, and a writer whose future is dropped would silence the reader. So the write
/// side and the timers are polled with a waker that wakes both.
pub(crate) struct Halves {
    pair: Arc<Pair>,
    both: Waker,
}

#[derive(Default)]
struct Pair {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Halves {
    pub(crate) fn new() -> Self {
        let pair = Arc::<Pair>::default();
        Self {
            both: Waker::from(pair.clone()),
            pair,
        }
    }

    /// The waker for whatever both wait for.
    pub(crate) fn both(&self) -> Waker {
        self.both.clone()
    }

    pub(crate) fn park_reader(&self, cx: &Context<'_>) {
        self.pair.reader.register(cx.waker());
    }

    /// Parks the writer, and returns the waker to poll again with: the wake-up may have come in between.
    pub(crate) fn park_writer(&self, cx: &Context<'_>) -> Waker {
        self.pair.writer.register(cx.waker());
        self.both.clone()
    }

    pub(crate) fn wake_reader(&self) {
        self.pair.reader.wake();
    }

    pub(crate) fn wake_writer(&self) {
        self.pair.writer.wake();
    }
}

impl Wake for Pair {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

impl std::fmt::Debug for Halves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Halves")
    }
}
