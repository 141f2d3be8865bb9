use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

/// What the reader of a stream is still to be given, and the reader that waits for it.
pub(super) struct Inbox<T> {
    items: VecDeque<T>,
    is_ended: bool,
    /// What is there whenever nothing else is.
    flood: Option<Box<dyn FnMut() -> T + Send>>,
    reader: Option<Waker>,
}

impl<T> Inbox<T> {
    /// Nothing comes after the end.
    pub(super) fn push(&mut self, item: T) {
        if !self.is_ended {
            self.items.push_back(item);
            self.wake();
        }
    }

    /// From here on there is always something to read.
    pub(super) fn flood(&mut self, flood: impl FnMut() -> T + Send + 'static) {
        self.flood = Some(Box::new(flood));
        self.wake();
    }

    pub(super) fn dry(&mut self) {
        self.flood = None;
    }

    pub(super) fn end(&mut self) {
        self.is_ended = true;
        self.wake();
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        match self.items.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if self.is_ended => Poll::Ready(None),
            None if let Some(flood) = &mut self.flood => Poll::Ready(Some(flood())),
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            is_ended: false,
            flood: None,
            reader: None,
        }
    }
}
