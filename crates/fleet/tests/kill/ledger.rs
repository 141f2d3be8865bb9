//! What was accepted, what has come, and what was told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// By lane and number, which is the order of acceptance.
type Id = (String, u64);

#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    accepted: BTreeSet<Id>,
    interrupted: BTreeSet<Id>,
    came: BTreeMap<Id, u32>,
    /// The largest number that has come, by lane.
    last: BTreeMap<String, u64>,
    out_of_order: u64,
    tokens: BTreeMap<String, u64>,
    stale: u64,
}

#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    pub(crate) came: usize,
    pub(crate) interrupted: usize,
    pub(crate) lost: usize,
    pub(crate) unsafe_twice: usize,
    pub(crate) safe_twice: usize,
    pub(crate) out_of_order: u64,
    /// With a smaller token than one before.
    pub(crate) stale: u64,
}

pub(crate) fn is_unsafe(number: u64) -> bool {
    number % 2 == 1
}

impl Ledger {
    /// A line of a worker: `accepted LANE NUMBER`, `interrupted LANE NUMBER`.
    pub(crate) fn told(&self, line: &str) {
        let mut words = line.split(' ');
        let (Some(what), Some(lane), Some(Ok(number))) = (words.next(), words.next(), words.next().map(str::parse))
        else {
            return println!("worker: {line}");
        };
        let mut books = self.0.lock().unwrap();
        let id = (lane.to_owned(), number);
        match what {
            "accepted" => books.accepted.insert(id),
            "interrupted" => {
                assert!(is_unsafe(number), "{line}: it is safe to send again");
                books.interrupted.insert(id)
            }
            _ => unreachable!("{line}"),
        };
    }

    /// It has come.
    pub(crate) fn came(&self, lane: &str, token: u64, number: u64) {
        let mut guard = self.0.lock().unwrap();
        let books = &mut *guard;
        let largest = books.tokens.entry(lane.to_owned()).or_default();
        books.stale += u64::from(token < *largest);
        *largest = token.max(*largest);
        let times = books.came.entry((lane.to_owned(), number)).or_default();
        *times += 1;
        if *times == 1 {
            let last = books.last.entry(lane.to_owned()).or_default();
            if number < *last {
                books.out_of_order += 1;
                println!("out of order: {lane} {number} after {last}");
            }
            *last = number.max(*last);
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.missing() == 0
    }

    fn missing(&self) -> usize {
        let books = self.0.lock().unwrap();
        let missing = books.accepted.iter().filter(|id| !books.came.contains_key(*id));
        missing.filter(|id| !books.interrupted.contains(*id)).count()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let lost = self.missing();
        let books = self.0.lock().unwrap();
        let twice = |unsafe_: bool| {
            let came = books.came.iter();
            came.filter(|((_, number), times)| **times > 1 && is_unsafe(*number) == unsafe_)
                .count()
        };
        Verdict {
            accepted: books.accepted.len(),
            came: books.came.len(),
            interrupted: books.interrupted.len(),
            lost,
            unsafe_twice: twice(true),
            safe_twice: twice(false),
            out_of_order: books.out_of_order,
            stale: books.stale,
        }
    }
}
