//! Sequence numbers of one subscription: what is missing, what came twice. No I/O.

/// How far the numbers have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    last: Option<u64>,
    /// None has come on this connection.
    fresh: bool,
}

/// What a number says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Numbered {
    /// It is the next.
    Next,
    /// These are missing before it.
    Missing { first: u64, last: u64 },
    /// It has come already.
    Again,
}

impl Numbers {
    /// How far back a server may begin when it resumes: 1,024 numbers. What lies further back is no
    /// repetition: its numbers have begun anew.
    const OVERLAP: u64 = 1024;

    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.fresh = true;
    }

    /// A number has come. `goes_on`: they go on from the last connection.
    pub(crate) fn hear(&mut self, number: u64, goes_on: bool) -> Numbered {
        let fresh = std::mem::take(&mut self.fresh);
        let last = match self.last {
            Some(last) if goes_on || !fresh => last,
            _ => {
                self.last = Some(number);
                return Numbered::Next;
            }
        };
        if number <= last && last - number < Self::OVERLAP {
            return Numbered::Again;
        }
        self.last = Some(number);
        match last.checked_add(1) {
            Some(first) if first < number => Numbered::Missing {
                first,
                last: number - 1,
            },
            _ => Numbered::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_came_twice() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.hear(7, true), Numbered::Next);
        assert_eq!(numbers.hear(8, true), Numbered::Next);
        assert_eq!(numbers.hear(8, true), Numbered::Again);
        assert_eq!(numbers.hear(12, true), Numbered::Missing { first: 9, last: 11 });
        assert_eq!(numbers.hear(10, true), Numbered::Again);
        assert_eq!(numbers.last(), Some(12));
    }

    #[test]
    fn numbers_that_go_on_are_compared_over_the_outage() {
        let mut numbers = Numbers::default();
        numbers.hear(7, true);
        numbers.lost();
        assert_eq!(numbers.hear(6, true), Numbered::Again);
        assert_eq!(numbers.hear(9, true), Numbered::Missing { first: 8, last: 8 });
    }

    #[test]
    fn numbers_that_begin_anew_are_not() {
        let mut numbers = Numbers::default();
        numbers.hear(7, false);
        numbers.lost();
        assert_eq!(numbers.hear(1, false), Numbered::Next);
        assert_eq!(numbers.hear(3, false), Numbered::Missing { first: 2, last: 2 });
    }

    #[test]
    fn a_server_that_has_forgotten_is_believed() {
        let mut numbers = Numbers::default();
        numbers.hear(1_000_000, true);
        numbers.lost();
        assert_eq!(numbers.hear(1, true), Numbered::Next);
        assert_eq!(numbers.hear(2, true), Numbered::Next);
        assert_eq!(
            numbers.hear(u64::MAX, true),
            Numbered::Missing {
                first: 3,
                last: u64::MAX - 1
            }
        );
        assert_eq!(numbers.hear(u64::MAX, true), Numbered::Again);
    }
}
