use std::collections::VecDeque;

use tokio::time::Instant;

use super::wire::Wire;
use crate::message::{DropReason, Outgoing, TicketSteps};

/// What has been accepted and the socket has not taken.
#[derive(Debug)]
pub(crate) struct Outbox<M> {
    pub(crate) control: VecDeque<Outgoing<M>>,
    /// The rest of a message that goes out in pieces.
    pub(crate) rest: Option<M>,
}

/// A message that must not be written, and why.
pub(crate) type Refused<M> = (Outgoing<M>, DropReason);

impl<M> Outbox<M> {
    pub(crate) fn new() -> Self {
        Self {
            control: VecDeque::new(),
            rest: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.rest.is_none()
    }

    /// What goes next. A control message waits for the end of a message in pieces only if the two
    /// must not mix.
    pub(crate) fn next<W: Wire<M>>(&mut self, wire: &W) -> Result<M, Refused<M>> {
        if let Some(mut rest) = self.rest.take() {
            let control = self.control.front();
            if !control.is_some_and(|control| wire.interleaves(&control.message)) {
                let piece = wire.split(&mut rest);
                return Ok(match piece {
                    Some(piece) => {
                        self.rest = Some(rest);
                        piece
                    }
                    None => rest,
                });
            }
            self.rest = Some(rest);
        }
        // Callers ask only when there is something, and the rest was not it.
        let control = self.control.pop_front().expect("the outbox is not empty");
        match claim_for_sending(&control) {
            Ok(()) => Ok(control.message),
            Err(reason) => Err((control, reason)),
        }
    }
}

/// The last step before the socket gets a message: from here on the peer may see it, and its ticket
/// says so. Fails, with the reason, if it must not be written any more.
#[inline]
pub(crate) fn claim_for_sending<M>(item: &Outgoing<M>) -> Result<(), DropReason> {
    // A look at the clock costs more than the rest.
    if item.deadline.is_some()
        && let Some(reason) = item.drop_reason(Instant::now())
    {
        return Err(reason);
    }
    match &item.ticket {
        Some(ticket) if !ticket.mark_sent() => Err(DropReason::Cancelled),
        _ => Ok(()),
    }
}
