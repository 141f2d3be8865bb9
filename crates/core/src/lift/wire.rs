use crate::{
    failure::{BoxError, Close, Failure, FailureKind},
    message::DropReason,
};

/// What [`Lift`](crate::Lift) must know of a socket's messages.
///
/// Every method has a default that fits a socket whose messages are only data: [`Plain`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know what messages of type `{M}` are on the wire",
    label = "no wire",
    note = "`Lift::new` takes messages for data, all of them"
)]
pub trait Wire<M> {
    /// May this message be written? What is refused comes back as
    /// [`Dropped`](crate::Event::Dropped), and not a byte of it is sent.
    ///
    /// # Errors
    ///
    /// The reason, such as [`DropReason::TooLarge`].
    fn admit(&self, message: &M) -> Result<(), DropReason> {
        let _ = message;
        Ok(())
    }

    /// Cuts the next piece off a message that is too large to be written at once, leaving the rest
    /// in place. `None` when what is there can be written as it is.
    fn split(&self, message: &mut M) -> Option<M> {
        let _ = message;
        None
    }

    /// May this message be written between two pieces of another?
    fn interleaves(&self, message: &M) -> bool {
        let _ = message;
        false
    }

    /// The peer's goodbye, if that is what this message is: the peer begins to close, or answers
    /// our closing. Anything else goes up.
    fn close(&self, message: &M) -> Option<Close> {
        let _ = message;
        None
    }

    /// The message that opens the closing handshake. `None`: the socket's own `poll_close` does it.
    fn farewell(&self) -> Option<M> {
        None
    }

    /// The message that tells the peer why the connection fails, before it is dropped. Sent if the
    /// socket takes it at once.
    fn protest(&self, failure: &Failure) -> Option<M> {
        let _ = failure;
        None
    }

    /// Classifies an error of the socket.
    fn failure(&self, error: BoxError) -> Failure {
        Failure::of(error)
    }

    /// The cause when the socket ended without a word.
    fn ended(&self) -> Failure {
        Failure::new(FailureKind::Network, "the peer ended the connection without closing it")
    }
}

/// The [`Wire`] of a socket whose messages are only data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<M> Wire<M> for Plain {}
