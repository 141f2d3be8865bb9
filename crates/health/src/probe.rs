use std::fmt;

use tower_ws_core::Probe;

/// A [`Probe`] made of two closures: one makes the question for a nonce, the other tells the nonce
/// of an answer.
///
/// For a transport without pings of its own, whose protocol has one:
///
/// ```
/// use tower_ws_core::Probe;
/// use tower_ws_health::probe_fn;
///
/// let probe = probe_fn(
///     |nonce| format!("PING {nonce}"),
///     |message: &String| message.strip_prefix("PONG ")?.parse().ok(),
/// );
/// assert_eq!(probe.probe(7), "PING 7");
/// assert_eq!(probe.answer(&"PONG 7".to_owned()), Some(7));
/// assert_eq!(probe.answer(&"hello".to_owned()), None);
/// ```
///
/// The nonces are from 2^52 to 2^53, so a JSON number holds them.
pub fn probe_fn<M, Q, A>(question: Q, answer: A) -> ProbeFn<Q, A>
where
    Q: Fn(u64) -> M,
    A: Fn(&M) -> Option<u64>,
{
    ProbeFn { question, answer }
}

/// What [`probe_fn`] gives.
#[derive(Clone, Copy)]
pub struct ProbeFn<Q, A> {
    question: Q,
    answer: A,
}

impl<M, Q, A> Probe<M> for ProbeFn<Q, A>
where
    Q: Fn(u64) -> M,
    A: Fn(&M) -> Option<u64>,
{
    fn probe(&self, nonce: u64) -> M {
        (self.question)(nonce)
    }

    fn answer(&self, message: &M) -> Option<u64> {
        (self.answer)(message)
    }
}

impl<Q, A> fmt::Debug for ProbeFn<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeFn")
    }
}
