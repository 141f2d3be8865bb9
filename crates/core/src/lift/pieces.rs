/// How many pieces of a large message the socket is handed before it is flushed.
///
/// What the socket gathers, a control message has to wait behind; and each flush costs. So it is one
/// piece where the network is what is waited for, and twice as many after each flush that was done at
/// once, up to four.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    /// Handed to the socket since the last flush.
    unflushed: u8,
    /// So many may be.
    most: u8,
}

impl Pieces {
    const MOST: u8 = 4;

    pub(crate) fn new() -> Self {
        Self { unflushed: 0, most: 1 }
    }

    /// The socket has one more, and it was not the last of its message.
    pub(crate) fn handed(&mut self) {
        self.unflushed = self.unflushed.saturating_add(1);
    }

    /// The socket is to be flushed before it gets the next.
    pub(crate) fn are_due(self) -> bool {
        self.unflushed >= self.most
    }

    /// The socket is flushed, and was `at_once` or had to be waited for.
    pub(crate) fn flushed(&mut self, at_once: bool) {
        if self.unflushed > 0 && at_once {
            self.most = Self::MOST.min(self.most * 2);
        }
        self.unflushed = 0;
    }

    /// The socket has to be waited for.
    pub(crate) fn blocked(&mut self) {
        self.most = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are handed over until a flush is due.
    fn until_due(pieces: &mut Pieces) -> usize {
        (1..10)
            .find(|_| {
                pieces.handed();
                pieces.are_due()
            })
            .expect("a flush in time")
    }

    #[test]
    fn more_are_gathered_as_long_as_nothing_is_waited_for() {
        let mut pieces = Pieces::new();
        assert!(!pieces.are_due());
        for expected in [1, 2, 4, 4] {
            assert_eq!(until_due(&mut pieces), expected);
            pieces.flushed(true);
        }
        assert_eq!(until_due(&mut pieces), 4);
        pieces.blocked();
        pieces.flushed(false);
        assert_eq!(until_due(&mut pieces), 1);
    }

    #[test]
    fn a_flush_of_nothing_shows_nothing() {
        let mut pieces = Pieces::new();
        pieces.flushed(true);
        assert_eq!(until_due(&mut pieces), 1);
    }
}
