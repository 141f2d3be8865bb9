//! What travels: events up, messages down, and what layers may know of both.

mod event;
mod outgoing;
mod payload;
mod ticket;

/// What a [`Ticket`] is made of. Where `tests/loom` puts its file, loom's are in this place.
mod atomics {
    pub(super) use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
}

pub use self::{
    event::{ConnectionId, Down, DropReason, EndCause, Event, OutageCause, Up},
    outgoing::{Lane, Outgoing, Replay},
    payload::{Carry, Length, Measure, Pack, Ping, Probe, Verbatim},
    ticket::{Phase, Ticket, TicketSteps},
};
