use std::task::{Context, Poll, Waker};

/// What a test lets the writer of a sink do, and the writer that waits for it.
///
/// Only the waker of the last poll is kept, as a real socket keeps it.
#[derive(Debug)]
pub(super) struct Gate {
    /// How many more messages are taken.
    room: usize,
    flush: bool,
    broken: bool,
    writer: Option<Waker>,
}

impl Gate {
    pub(super) fn set_room(&mut self, room: usize) {
        let was_ready = self.room > 0;
        self.room = room;
        if was_ready != (room > 0) {
            self.wake();
        }
    }

    pub(super) fn set_flush(&mut self, flush: bool) {
        if self.flush != flush {
            self.flush = flush;
            self.wake();
        }
    }

    pub(super) fn set_broken(&mut self, broken: bool) {
        if self.broken != broken {
            self.broken = broken;
            self.wake();
        }
    }

    /// Nobody has to wait.
    pub(super) fn open(&mut self) {
        self.set_room(usize::MAX);
        self.set_flush(true);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// One message was taken.
    pub(super) fn take(&mut self) {
        self.room = self.room.saturating_sub(1);
    }

    pub(super) fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.poll(self.room > 0, cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.poll(self.flush, cx)
    }

    fn poll(&mut self, is_open: bool, cx: &Context<'_>) -> Poll<()> {
        if is_open {
            return Poll::Ready(());
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            room: usize::MAX,
            flush: true,
            broken: false,
            writer: None,
        }
    }
}
