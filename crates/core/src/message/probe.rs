/// How to ask a peer whether it is there, and how to know its answer.
///
/// A transport brings the probe of its own protocol; an application's protocol may have one of its
/// own.
pub trait Probe<M> {
    /// A message that the peer answers at once. `nonce` comes back in the answer, so that one that
    /// nobody asked for is not taken for it.
    fn probe(&self, nonce: u64) -> M;

    /// The nonce of the answer that this message is; `None` if it is none.
    fn answer(&self, message: &M) -> Option<u64>;
}
