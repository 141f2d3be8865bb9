//! A connection of any `Sink + Stream` of messages.

mod deadline;
mod lift;
mod outbox;
mod wire;

pub use self::{
    deadline::Deadlines,
    lift::Lift,
    wire::{Plain, Wire},
};
