//! One subscription that stands.

use tokio::time::Instant;
use tower_ws_core::{Failure, Ticket};

use crate::{
    feed::Feed,
    numbers::Numbers,
    update::{Gap, Update},
};

pub(crate) struct Entry<M> {
    /// What begins it, as it was said first.
    pub(crate) message: M,
    pub(crate) bytes: usize,
    pub(crate) undo: Option<Box<str>>,
    /// By which the application knows it; none before the server gave one.
    pub(crate) names: Vec<Box<str>>,
    /// Its name on this connection, where the server gives names.
    pub(crate) here: Option<Box<str>>,
    pub(crate) stage: Stage,
    /// How many messages of the application's began it, and were not given back.
    pub(crate) begun: u32,
    /// Said by the layer, and the answer is not there: nobody above waits for it.
    pub(crate) unanswered: bool,
    /// Nobody wants it any more, and the server has not said yet what to take back.
    pub(crate) unwanted: bool,
    pub(crate) was_active: bool,
    /// When it was lost, and why.
    pub(crate) lost: Option<(Instant, Failure)>,
    pub(crate) numbers: Numbers,
    /// Who reads it; `None`: those above.
    pub(crate) feed: Option<Feed<M>>,
}

#[derive(Debug)]
pub(crate) enum Stage {
    /// The application's own request is on its way. With the ticket of whoever waits for it.
    Asked(Option<Ticket>),
    /// To be said, as soon as there is a connection.
    Due,
    /// Said by the layer, and not answered.
    Said(Ticket),
    Active(Option<Ticket>),
}

impl<M> Entry<M> {
    pub(crate) fn new(message: M, bytes: usize) -> Self {
        Self {
            message,
            bytes,
            undo: None,
            names: Vec::new(),
            here: None,
            stage: Stage::Due,
            begun: 1,
            unanswered: false,
            unwanted: false,
            was_active: false,
            lost: None,
            numbers: Numbers::default(),
            feed: None,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active(_))
    }

    /// The message with this ticket is the one that the layer said for it.
    pub(crate) fn is_said_by(&self, other: &Ticket) -> bool {
        match &self.stage {
            Stage::Said(ticket) | Stage::Active(Some(ticket)) => ticket.is(other),
            _ => false,
        }
    }

    /// The server has it, as far as is known.
    pub(crate) fn activate(&mut self, now: Instant) -> Option<Update> {
        let ticket = match std::mem::replace(&mut self.stage, Stage::Due) {
            Stage::Said(ticket) => Some(ticket),
            _ => None,
        };
        self.stage = Stage::Active(ticket);
        match self.lost.take() {
            Some((from, why)) => Some(Update::Resumed(Gap { from, to: now, why })),
            None if std::mem::replace(&mut self.was_active, true) => None,
            None => Some(Update::Active),
        }
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self, now: Instant, why: &Failure) -> Option<Update> {
        let was_active = self.is_active();
        self.stage = Stage::Due;
        self.unanswered = false;
        self.numbers.lost();
        if !was_active {
            return None;
        }
        self.lost = Some((now, why.clone()));
        Some(Update::Lost {
            at: now,
            why: why.clone(),
        })
    }

    /// The name by which it is looked for in logs and by the application.
    pub(crate) fn title(&self) -> Box<str> {
        self.names.first().cloned().unwrap_or_default()
    }

    /// Tells whoever reads it.
    pub(crate) fn tell(&self, update: &Update) {
        if let Some(feed) = &self.feed {
            feed.tell(update.clone());
        }
    }
}
