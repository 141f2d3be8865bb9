//! What travels: events up, messages down, and what layers may know of both.

mod carry;
mod event;
mod measure;
mod outgoing;
mod pack;
mod probe;
mod ticket;

pub use self::{
    carry::Carry,
    event::{ConnectionId, Down, DropReason, EndCause, Event, Up},
    measure::{Length, Measure, Unmeasured},
    outgoing::{Lane, Outgoing, Replay},
    pack::{Pack, Verbatim},
    probe::Probe,
    ticket::{Phase, Ticket, TicketSteps},
};
