//! The file of the [`Ticket`], as it is in `tower-ws-core`, over atomics that loom watches.

/// Where the ticket's file finds its atomics: in the crate they are those of the standard library.
mod atomics {
    pub(crate) use loom::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
}

#[path = "../../../crates/core/src/message/ticket.rs"]
mod ticket;

pub use ticket::{Phase, Ticket, TicketSteps};
