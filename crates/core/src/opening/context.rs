use std::{collections::VecDeque, fmt, future::poll_fn};

use crate::{
    failure::{Disposition, Failure, FailureKind},
    layer::{BoxConnection, Closed},
    message::{Event, Measure, Outgoing, Up},
};

/// One dialogue on one fresh connection.
pub struct OpeningContext<M> {
    connection: BoxConnection<M>,
    up: Up,
    early: VecDeque<Event<M>>,
    /// Boxed, so that a dialogue need not name it.
    measure: Box<dyn Measure<M> + Send>,
    bytes: usize,
}

impl<M> OpeningContext<M> {
    /// How many messages may be kept: 256, more than a peer has to say before it was greeted.
    pub const ROOM: usize = 256;
    /// How many bytes they may have: 16 MiB, the largest message that the transport takes.
    pub const BYTES: usize = 16 * 1024 * 1024;

    pub(crate) fn new(connection: BoxConnection<M>, up: Up, measure: Box<dyn Measure<M> + Send>) -> Self {
        Self {
            connection,
            up,
            early: VecDeque::new(),
            measure,
            bytes: 0,
        }
    }

    /// The connection, what is to go up first, and what came early.
    pub(crate) fn into_parts(self) -> (BoxConnection<M>, Up, VecDeque<Event<M>>) {
        (self.connection, self.up, self.early)
    }

    /// Sends a message and flushes it.
    ///
    /// # Errors
    ///
    /// The cause, if the connection ends first.
    pub async fn send(&mut self, message: impl Into<Outgoing<M>>) -> Result<(), Failure> {
        let mut message = Some(message.into());
        let sent = poll_fn(|cx| {
            std::task::ready!(self.connection.as_mut().poll_ready(cx))?;
            if let Some(message) = message.take() {
                self.connection.as_mut().start_send(message)?;
            }
            self.connection.as_mut().poll_flush(cx)
        })
        .await;
        match sent {
            Ok(()) => Ok(()),
            // The sink only says that it is closed. The stream knows why.
            Err(Closed) => loop {
                let message = self.recv().await?;
                self.keep(message)?;
            },
        }
    }

    /// Receives the next message.
    ///
    /// # Errors
    ///
    /// The cause, if the connection ends first, or if what was sent was dropped below.
    pub async fn recv(&mut self) -> Result<M, Failure> {
        loop {
            return match self.next().await {
                Some(Event::Message(message)) => Ok(message),
                Some(Event::Down(down)) => Err(down.cause),
                Some(Event::Dropped(_, reason)) => Err(Failure::new(
                    FailureKind::Policy,
                    "a message of the opening dialogue was dropped",
                )
                .with_source(reason)),
                Some(_) => continue,
                None => Err(Failure::new(FailureKind::Network, "the connection ended")),
            };
        }
    }

    /// Keeps a message that is not for this dialogue: it follows `Up`.
    ///
    /// # Errors
    ///
    /// When there are [`ROOM`](Self::ROOM) of them already, or it would be more than
    /// [`BYTES`](Self::BYTES) with this one: a peer that talks so much first never finishes. The
    /// size is that of [`OpeningLayer::measure`](crate::OpeningLayer::measure).
    pub fn keep(&mut self, message: M) -> Result<(), Failure> {
        let bytes = self.bytes.saturating_add(self.measure.bytes(&message));
        if self.early.len() >= Self::ROOM || bytes > Self::BYTES {
            let text = format!(
                "the peer sent too much before it answered: {} messages were kept, and there is no room for another",
                self.early.len()
            );
            return Err(Failure::new(FailureKind::Policy, text).with_disposition(Disposition::Backoff));
        }
        self.bytes = bytes;
        self.early.push_back(Event::Message(message));
        Ok(())
    }

    /// What will go up when the dialogue succeeds: mark it as resumed, leave in its extensions what
    /// was learnt.
    pub fn up(&mut self) -> &mut Up {
        &mut self.up
    }

    async fn next(&mut self) -> Option<Event<M>> {
        poll_fn(|cx| self.connection.as_mut().poll_next(cx)).await
    }
}

impl<M> fmt::Debug for OpeningContext<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpeningContext")
            .field("up", &self.up)
            .finish_non_exhaustive()
    }
}
