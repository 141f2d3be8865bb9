//! Plain messages over the recommended stack: whatever is said over a WebSocket that is no JSON-RPC.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_ws::messages::Event;
//!
//! let (sender, mut events) = tower_ws::open("wss://example.com/feed").await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         // On each connection anew: the last one's subscriptions went with it.
//!         Event::Up(_) => sender.send(r#"{"op":"subscribe","channel":"trades"}"#).await?,
//!         Event::Message(message) => println!("{}", message.as_text().unwrap_or_default()),
//!         Event::Down(down) => eprintln!("{}; another one: {}", down.cause, down.will_retry),
//!         other => eprintln!("{other:?}"),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! The same with values, in JSON:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use serde::{Deserialize, Serialize};
//! use tower_ws::messages::Event;
//!
//! #[derive(Serialize)]
//! struct Subscribe {
//!     op: &'static str,
//!     channel: &'static str,
//! }
//!
//! #[derive(Deserialize)]
//! struct Trade {
//!     price: f64,
//! }
//!
//! let builder = tower_ws::builder("wss://example.com/feed").name("trades").messages();
//! let (sender, mut events) = builder.connect_json::<Trade, Subscribe>().await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Up(_) => sender.send(&Subscribe { op: "subscribe", channel: "trades" }).await?,
//!         Event::Message(trade) => println!("{}", trade.price),
//!         other => eprintln!("{other:?}"),
//!     }
//! }
//! # Ok(()) }
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
pub use tower_ws_messages::*;
use tower_ws_transport::{JsonText, Message};

use crate::{builder::Builder, error::ConnectError};

/// Opens a session for plain messages by the recommended stack with its defaults.
///
/// Resolves when the first connection is up; as [`connect`](crate::connect), it waits for a server
/// that is not there yet.
///
/// # Errors
///
/// [`ConnectError`].
pub async fn open(url: impl AsRef<str>) -> Result<(Sender<Message>, Events<Message>), ConnectError> {
    crate::builder(url).messages().connect().await
}

/// The recommended stack for plain messages, before it connects. Made by [`Builder::messages`].
///
/// It has no layer that waits for acknowledgements: those are the protocol's. What was accepted
/// while the link is down waits in the queue; what was written when the link was lost is not sent
/// again.
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct MessagesBuilder {
    stack: Builder,
    messages: MessagesLayer<Message>,
}

impl Builder {
    /// Plain messages, text and binary, rather than JSON-RPC calls: a [`Sender`] and [`Events`].
    ///
    /// What this builder says of calls (the layer on top, and what sends calls again) does not
    /// count then.
    pub fn messages(self) -> MessagesBuilder {
        MessagesBuilder {
            stack: self,
            // Pings and pongs belong to the layers below.
            messages: MessagesLayer::new().only(Message::is_data),
        }
    }
}

impl MessagesBuilder {
    /// Sets how long a send may wait ([`MessagesLayer::timeout`]). Default
    /// [60 s](MessagesLayer::TIMEOUT).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.messages = self.messages.timeout(timeout);
        self
    }

    /// Sets how many messages of [`try_send`](Sender::try_send) may wait
    /// ([`MessagesLayer::room`]). Default [1,024](MessagesLayer::ROOM).
    pub fn room(mut self, messages: usize) -> Self {
        self.messages = self.messages.room(messages);
        self
    }

    /// Sets how many events wait to be read, and what happens when there are more
    /// ([`MessagesLayer::inbox`]). Default [256](MessagesLayer::INBOX), and the oldest is dropped.
    pub fn inbox(mut self, room: usize, lag: Lag) -> Self {
        self.messages = self.messages.inbox(room, lag);
        self
    }

    /// Changes the stack: all that its [builder](Builder) has.
    pub fn stack(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.stack = change(self.stack);
        self
    }

    /// Connects. See [`open`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<(Sender<Message>, Events<Message>), ConnectError> {
        let connecting = crate::assemble::messages(self.stack, self.messages)?;
        connecting.await.map_err(ConnectError)
    }

    /// Connects, and reads and writes values in JSON: `In` is what comes in, `Out` what goes out.
    /// What comes in and is no `In` is an [`Unreadable`](Event::Unreadable) event.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect_json<In: DeserializeOwned, Out: Serialize>(
        self,
    ) -> Result<(JsonSender<Out, Message, JsonText>, JsonEvents<In, Message, JsonText>), ConnectError> {
        let (sender, events) = self.connect().await?;
        Ok((sender.json(JsonText), events.json(JsonText)))
    }
}
