use std::collections::VecDeque;

use super::wire::Wire;
use crate::{
    message::{DropReason, Lane, Outgoing, TicketSteps},
    time::Moment,
};

/// What has been accepted and the socket has not taken.
#[derive(Debug)]
pub(crate) struct Outbox<M> {
    pub(crate) control: VecDeque<Outgoing<M>>,
    /// A message whose turn it was when a control message went first.
    pub(crate) waiting: Option<Outgoing<M>>,
    /// The rest of a message that goes out in pieces.
    pub(crate) rest: Option<M>,
}

/// A message that must not be written, and why.
pub(crate) type Refused<M> = (Outgoing<M>, DropReason);

impl<M> Outbox<M> {
    pub(crate) fn new() -> Self {
        Self {
            control: VecDeque::new(),
            waiting: None,
            rest: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.waiting.is_none() && self.rest.is_none()
    }

    /// Nothing more is written: gives back what the socket got nothing of.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Outgoing<M>> {
        self.rest = None;
        std::mem::take(&mut self.control).into_iter().chain(self.waiting.take())
    }

    /// What goes next. A control message waits for the end of a message in pieces only if the two
    /// must not mix.
    pub(crate) fn next<W: Wire<M>>(&mut self, wire: &W, moment: &mut Moment) -> Result<M, Refused<M>> {
        if let Some(rest) = self.rest.take() {
            let control = self.control.front();
            if !control.is_some_and(|control| wire.interleaves(&control.message)) {
                return Ok(self.piece(wire, rest));
            }
            self.rest = Some(rest);
        }
        // Callers ask only when there is something, and the rest was not it.
        let item = self.waiting.take().or_else(|| self.control.pop_front());
        let item = item.expect("the outbox is not empty");
        match claim_for_sending(&item, moment) {
            Ok(()) if item.lane == Lane::Control => Ok(item.message),
            Ok(()) => Ok(self.piece(wire, item.message)),
            Err(reason) => Err((item, reason)),
        }
    }

    /// The first piece of a message; the others stay here.
    fn piece<W: Wire<M>>(&mut self, wire: &W, mut message: M) -> M {
        match wire.split(&mut message) {
            Some(piece) => {
                self.rest = Some(message);
                piece
            }
            None => message,
        }
    }
}

/// The last step before the socket gets a message: from here on the peer may see it, and its ticket
/// says so. Fails, with the reason, if it must not be written any more.
#[inline]
pub(crate) fn claim_for_sending<M>(item: &Outgoing<M>, moment: &mut Moment) -> Result<(), DropReason> {
    if item.deadline.is_some()
        && let Some(reason) = item.drop_reason(moment.now())
    {
        return Err(reason);
    }
    match &item.ticket {
        Some(ticket) if !ticket.mark_sent() => Err(DropReason::Cancelled),
        _ => Ok(()),
    }
}
