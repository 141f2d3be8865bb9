use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures_sink::Sink;
use futures_util::task::AtomicWaker;

/// Closes a sink from the task that reads: polls it only when its own waker was called.
///
/// Closing may wake whoever reads, to begin a deadline. If each read polled it anew, the two would
/// wake each other for ever.
pub(crate) struct Closer {
    called: Arc<Called>,
    waker: Waker,
    done: bool,
}

struct Called {
    called: AtomicBool,
    reader: AtomicWaker,
}

impl Closer {
    pub(crate) fn new() -> Self {
        let called = Arc::new(Called {
            called: AtomicBool::new(true),
            reader: AtomicWaker::new(),
        });
        Self {
            waker: Waker::from(called.clone()),
            called,
            done: false,
        }
    }

    /// Goes on with closing, if it has called. Whether that succeeds, the events tell.
    pub(crate) fn poll<S: Sink<M>, M>(&mut self, sink: Pin<&mut S>, cx: &Context<'_>) {
        // Before the look: a call that comes after it wakes the reader.
        self.called.reader.register(cx.waker());
        if !self.done && self.called.called.swap(false, Ordering::AcqRel) {
            self.done = sink.poll_close(&mut Context::from_waker(&self.waker)).is_ready();
        }
    }
}

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").field("done", &self.done).finish()
    }
}
