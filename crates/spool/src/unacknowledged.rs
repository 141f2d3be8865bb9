use std::convert::Infallible;

use tower_ws_ack::{Acknowledgement, Strategy};
use tower_ws_core::Outgoing;

/// For a stack without acknowledgements: what was handed over is settled once the connection that
/// it went out on has flushed it.
///
/// That is less than at least once. What the socket of a connection had taken when the connection
/// broke, or the machine stopped, is lost, as it is without a spool. What the queue held is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unacknowledged;

impl<M> Strategy<M> for Unacknowledged {
    type Key = Infallible;

    fn awaits(&self, _: &Outgoing<M>) -> Option<Infallible> {
        None
    }

    fn acknowledges(&self, _: &M) -> Option<Acknowledgement<Infallible>> {
        None
    }
}
