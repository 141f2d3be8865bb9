use std::pin::Pin;

use futures_core::Stream;
use futures_sink::Sink;

use crate::message::{Event, Outgoing};

/// A connection: a sink of [`Outgoing`] messages and a stream of [`Event`]s.
///
/// An alias. Implement `Sink` and `Stream`, never this; the stream's item fixes the message type.
/// The laws that every connection keeps are in the [crate docs](crate#the-laws).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no connection",
    label = "not a `Sink<Outgoing<M>, Error = Closed>` and a `Stream<Item = Event<M>>` at once",
    note = "`Lift::new` makes a connection of any `Sink + Stream` of messages; the layer below the one that complains gives the wrong thing"
)]
pub trait Connection:
    Sink<Outgoing<<Self as Connection>::Message>, Error = Closed> + Stream<Item = Event<<Self as Connection>::Message>>
{
    /// What the peers say to each other.
    type Message;
}

#[diagnostic::do_not_recommend]
impl<C, M> Connection for C
where
    C: Stream<Item = Event<M>> + Sink<Outgoing<M>, Error = Closed>,
{
    type Message = M;
}

/// [`Connection`] as a trait that can be boxed: `dyn Connection<Message = M>` cannot.
pub trait DynConnection<M>: Sink<Outgoing<M>, Error = Closed> + Stream<Item = Event<M>> {}

#[diagnostic::do_not_recommend]
impl<C, M> DynConnection<M> for C where C: Sink<Outgoing<M>, Error = Closed> + Stream<Item = Event<M>> {}

/// A connection whose type is erased. One allocation for each connection, one virtual call for each
/// poll.
pub type BoxConnection<M> = Pin<Box<dyn DynConnection<M> + Send>>;

/// Erases the type of a connection.
pub fn boxed<C>(connection: C) -> BoxConnection<C::Message>
where
    C: Connection + Send + 'static,
{
    Box::pin(connection)
}

/// Compiles only for a connection, and then does nothing. Where a stack does not fit together, a
/// call of it makes the compiler name the layer at fault.
pub fn assert_connection<C: Connection>(connection: &C) {
    let _ = connection;
}

/// The only error of a connection's sink: it takes no more messages. Why, the stream's last
/// [`Down`](crate::Event::Down) says, or the session's [`EndCause`](crate::EndCause).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection is closed; its events say why")]
pub struct Closed;

/// Implements `Sink<Outgoing<_>>` for a pinned wrapper by passing everything to the field named.
///
/// The [crate docs](crate#a-layer-of-your-own) show it in use. `forward_sink!(polls inner)` leaves
/// `start_send` to you.
#[macro_export]
macro_rules! forward_sink {
    ($field:ident) => {
        fn start_send(
            self: ::std::pin::Pin<&mut Self>,
            item: $crate::Outgoing<C::Message>,
        ) -> ::std::result::Result<(), Self::Error> {
            self.project().$field.start_send(item)
        }

        $crate::forward_sink!(polls $field);
    };
    (polls $field:ident) => {
        $crate::forward_sink!(@ $field poll_ready);
        $crate::forward_sink!(@ $field poll_flush);
        $crate::forward_sink!(@ $field poll_close);
    };
    (@ $field:ident $poll:ident) => {
        fn $poll(
            self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<::std::result::Result<(), Self::Error>> {
            self.project().$field.$poll(cx)
        }
    };
}
