use std::{
    fmt,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The two tasks that may wait on one connection: one reads, one writes. Help for layers whose
/// reader writes too.
///
/// A sink keeps one waker, that of whoever polled it last. A reader that pushes out a pong, or what
/// is to be sent again, takes the place of a writer who waits; a writer whose future is dropped
/// leaves the reader without a wake-up. So park each half here, and poll the sink below, and the
/// timers, with the waker that wakes [both](Self::both).
pub struct Halves {
    pair: Arc<Pair>,
    both: Waker,
}

#[derive(Default)]
struct Pair {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Halves {
    /// Nobody waits yet. Two allocations for each connection.
    pub fn new() -> Self {
        let pair = Arc::<Pair>::default();
        Self {
            both: Waker::from(pair.clone()),
            pair,
        }
    }

    /// The waker for whatever both wait for.
    pub fn both(&self) -> &Waker {
        &self.both
    }

    /// Parks the task that reads. Do it before polling with [`both`](Self::both), or poll once more
    /// after it: the wake-up may come in between.
    pub fn park_reader(&self, cx: &Context<'_>) {
        self.pair.reader.register(cx.waker());
    }

    /// Parks the task that writes; as [`park_reader`](Self::park_reader).
    pub fn park_writer(&self, cx: &Context<'_>) {
        self.pair.writer.register(cx.waker());
    }

    /// Wakes the task that reads, if it is parked.
    pub fn wake_reader(&self) {
        self.pair.reader.wake();
    }

    /// Wakes the task that writes, if it is parked.
    pub fn wake_writer(&self) {
        self.pair.writer.wake();
    }
}

impl Default for Halves {
    fn default() -> Self {
        Self::new()
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

impl fmt::Debug for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Halves")
    }
}
