//! What a layer or a lift stands on, driven by hand.

mod connection;
mod dialer;
mod gate;
mod inbox;
mod socket;

pub use self::connection::ManualConnection;
pub use self::dialer::{ManualDial, ManualDialer};
pub use self::socket::ManualSocket;
