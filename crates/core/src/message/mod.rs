//! What travels: events up, messages down, and what layers may know of both.

mod event;
mod outgoing;
mod payload;
mod ticket;

pub use self::{
    event::{ConnectionId, Down, DropReason, EndCause, Event, OutageCause, Up},
    outgoing::{Lane, Outgoing, Replay},
    payload::{Carry, Length, Measure, Pack, Ping, Probe, Verbatim},
    ticket::{Phase, Ticket, TicketSteps},
};
