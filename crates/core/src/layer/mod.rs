//! What a connection is, and what layers are built of.

mod connection;
mod halves;
mod map;
mod order;
mod severable;

pub(crate) use self::order::check_opening;
pub use self::{
    connection::{BoxConnection, Closed, Connection, DynConnection, assert_connection, boxed},
    halves::Halves,
    map::{MapConnection, Wrap},
    order::{Position, WrongOrder},
    severable::Severable,
};
