use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tower_ws_core::jsonrpc::Codec;

use crate::{
    error::{Reason, SendError},
    events::{Event, Events},
    sender::{Outcome, Sender},
};

impl<M> Sender<M> {
    /// Sends values of this type, as JSON. `codec` makes a message of a text.
    pub fn json<T, K: Codec<M>>(self, codec: K) -> JsonSender<T, M, K> {
        JsonSender {
            sender: self,
            codec,
            value: PhantomData,
        }
    }
}

impl<M> Events<M> {
    /// Reads messages as values of this type, in JSON. What is none comes as an
    /// [`Unreadable`](Event::Unreadable), and the 1st, 2nd, 4th, 8th … is logged.
    pub fn json<T: DeserializeOwned, K: Codec<M>>(self, codec: K) -> JsonEvents<T, M, K> {
        JsonEvents {
            events: self,
            codec,
            unreadable: 0,
            value: PhantomData,
        }
    }
}

/// A [`Sender`] of values, as JSON. Made by [`Sender::json`].
pub struct JsonSender<T, M, K> {
    sender: Sender<M>,
    codec: K,
    value: PhantomData<fn(T)>,
}

impl<T: Serialize, M, K: Codec<M>> JsonSender<T, M, K> {
    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], with the message that was made; [`Reason::Json`] without one.
    pub async fn send(&self, value: &T) -> Result<(), SendError<M>> {
        self.sender.send(self.message(value)?).await
    }

    /// As [`Sender::send_confirmed`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send_confirmed`]; [`Reason::Json`].
    pub async fn send_confirmed(&self, value: &T) -> Result<Outcome, SendError<M>> {
        self.sender.send_confirmed(self.message(value)?).await
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`]; [`Reason::Json`].
    pub fn try_send(&self, value: &T) -> Result<(), SendError<M>> {
        self.sender.try_send(self.message(value)?)
    }

    fn message(&self, value: &T) -> Result<M, SendError<M>> {
        let json = |error| SendError::new(None, Reason::Json(Arc::new(error)));
        let text = serde_json::to_vec(value).map_err(json)?;
        let malformed = |error| json(serde::ser::Error::custom(error));
        self.codec.encode(Bytes::from(text)).map_err(malformed)
    }
}

impl<T, M, K> JsonSender<T, M, K> {
    /// The sender beneath, for messages that are no `T`.
    pub fn sender(&self) -> &Sender<M> {
        &self.sender
    }

    /// As [`Sender::close`].
    pub async fn close(&self, grace: Duration) -> Vec<M> {
        self.sender.close(grace).await
    }
}

impl<T, M, K: Clone> Clone for JsonSender<T, M, K> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            codec: self.codec.clone(),
            value: PhantomData,
        }
    }
}

impl<T, M, K> fmt::Debug for JsonSender<T, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonSender").field(&self.sender).finish()
    }
}

/// [`Events`] whose messages are values, in JSON. Made by [`Events::json`].
pub struct JsonEvents<T, M, K> {
    events: Events<M>,
    codec: K,
    unreadable: u64,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned, M, K: Codec<M> + Unpin> JsonEvents<T, M, K> {
    /// The next event; `None` once the session has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<T, M>> {
        let event = self.events.next().await?;
        Some(self.read(event))
    }

    fn read(&mut self, event: Event<M>) -> Event<T, M> {
        match event {
            Event::Message(message) => {
                let text = self.codec.text(&message);
                let read = text.map(serde_json::from_slice).transpose();
                match read {
                    Ok(Some(value)) => Event::Message(value),
                    Ok(None) => self.unreadable(message, None),
                    Err(error) => self.unreadable(message, Some(error)),
                }
            }
            Event::Up(up) => Event::Up(up),
            Event::Down(down) => Event::Down(down),
            Event::Unreadable(unreadable) => Event::Unreadable(unreadable),
            Event::Undelivered { message, reason } => Event::Undelivered { message, reason },
            Event::Gap { missed } => Event::Gap { missed },
        }
    }

    fn unreadable(&mut self, message: M, error: Option<serde_json::Error>) -> Event<T, M> {
        self.unreadable += 1;
        let so_far = self.unreadable;
        let error = error.map(Arc::new);
        let unreadable = Unreadable { message, error, so_far };
        if so_far.is_power_of_two() {
            tracing::warn!(why = %unreadable, so_far, "a message of the peer's could not be read");
        }
        Event::Unreadable(unreadable)
    }
}

impl<T: DeserializeOwned, M, K: Codec<M> + Unpin> Stream for JsonEvents<T, M, K> {
    type Item = Event<T, M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<T, M>>> {
        let event = ready!(Pin::new(&mut self.events).poll_next(cx));
        Poll::Ready(event.map(|event| self.read(event)))
    }
}

impl<T, M, K> fmt::Debug for JsonEvents<T, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonEvents")
            .field("unreadable", &self.unreadable)
            .finish_non_exhaustive()
    }
}

/// A message that is not what was expected. It is displayed as why, and never as what it says.
pub struct Unreadable<M> {
    /// The message.
    pub message: M,
    /// What is wrong with it; `None` if it is no text at all.
    pub error: Option<Arc<serde_json::Error>>,
    /// How many there have been in this session, with this one.
    pub so_far: u64,
}

impl<M> fmt::Display for Unreadable<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            // The kind and the place only: its text may quote what was said.
            Some(error) => write!(
                f,
                "{:?} error at line {} column {}",
                error.classify(),
                error.line(),
                error.column()
            ),
            None => f.write_str("it is no text"),
        }
    }
}

impl<M> fmt::Debug for Unreadable<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreadable")
            .field("why", &self.to_string())
            .field("so_far", &self.so_far)
            .finish_non_exhaustive()
    }
}

impl<M: Clone> Clone for Unreadable<M> {
    fn clone(&self) -> Self {
        Self {
            message: self.message.clone(),
            error: self.error.clone(),
            so_far: self.so_far,
        }
    }
}
