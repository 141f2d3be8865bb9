//! For libraries with a protocol machine of their own: JSON-RPC texts in and out, over a stack that
//! lives through the restarts of its server.
//!
//! # What the library sees
//!
//! - One connection that never breaks. What it says while there is none waits in the stack, within
//!   its bounds.
//! - Its `initialize` or `server/discover` opens the first connection, and is answered with what
//!   the server said. On each later connection the stack opens by itself, and repeats the
//!   subscriptions, the log level and the listens.
//! - After each outage, notifications that the server's lists have changed: it may be another one.
//! - A listen goes on under the id that the library gave it. It is acknowledged once; after each
//!   later connection all that it asked for is told to have changed.
//! - A request that was sent and not answered when the connection was lost is sent again if it only
//!   reads, or calls a tool that may be called twice [by its
//!   annotations](Relay::trust_annotations). Any other is answered with an error that says so: [`Interrupted`].
//! - No time limit but its own: a request waits until it is answered, the library cancels it, or
//!   [says that its time is up](Relay::time_is_up). At most 16,384 are under way, and 4,096 of the
//!   server's: one more is answered with an error.
//! - Closing says 1000; so does dropping.
//! - When the session ends for good (a refusal that is final, say) each request under way is
//!   answered with an error that says why, then [`recv`](Relay::recv) gives `None`.
//!
//! Ids on the wire are the stack's own, never used twice; answers get the library's back. Requests
//! of the server reach the library, and its answers go to the connection that asked.

mod asked;
mod calls;
mod envelope;
mod trusting;
mod worker;

use std::{fmt, future::Future, time::Duration};

use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::sync::{mpsc, watch};
use tower_ws_client::{Client, Inbound};
use tower_ws_core::BoxError;

use self::{
    trusting::Trusting,
    worker::{Connect, Said, Worker},
};
use crate::layer::McpLayer;

/// How many messages wait between the library and the stack, each way: 64. More wait at the
/// library.
const ROOM: usize = 64;

/// The far end of a library's transport. See the [module docs](self).
pub struct Relay {
    /// `None` once it is being closed.
    said: Option<mpsc::Sender<Said>>,
    heard: mpsc::Receiver<String>,
    /// Closed once the worker has ended.
    ended: watch::Receiver<()>,
    trust: Trusting,
}

impl Relay {
    /// A relay over the stack that `connect` makes, which must have the layer that it is given in
    /// the place of an [`McpLayer`].
    ///
    /// Nothing is dialled before the library speaks: only then it is known what the server is to be
    /// told of the client.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new<K, F, Fut>(codec: K, connect: F) -> Self
    where
        K: Clone + Send + 'static,
        F: FnOnce(McpLayer<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(Client, Inbound), BoxError>> + Send + 'static,
    {
        let connect: Connect = Box::new(move |library| {
            let (mut layer, session) = McpLayer::pair(codec, library.client, library.capabilities);
            if let Some(era) = library.only {
                layer = layer.only(era);
            }
            if let Some(version) = library.version {
                layer = layer.prefer(version);
            }
            let connecting: BoxFuture<'static, _> = Box::pin(async move {
                let (client, inbound) = connect(layer).await?;
                Ok((client, inbound, session))
            });
            connecting
        });
        let (said, from_library) = mpsc::channel(ROOM);
        let (to_library, heard) = mpsc::channel(ROOM);
        let (alive, ended) = watch::channel(());
        let trust = Trusting::default();
        let trusting = trust.clone();
        tokio::spawn(async move {
            Worker::run(connect, trusting, from_library, to_library).await;
            drop(alive);
        });
        Self {
            said: Some(said),
            heard,
            ended,
            trust,
        }
    }

    /// Believes what the server says of its tools' effects, whenever the library lists them: a call of
    /// one that only reads, or may be called twice, is sent again after a lost connection. Default: no
    /// tool is called twice.
    #[must_use]
    pub fn trust_annotations(self) -> Self {
        self.trust.begin();
        self
    }

    /// Takes one JSON-RPC message. The future is the caller's own, and resolves when the stack has
    /// taken the message, not when it was written.
    ///
    /// # Errors
    ///
    /// [`RelayClosed`].
    pub fn send(&self, text: String) -> impl Future<Output = Result<(), RelayClosed>> + Send + use<> {
        self.say(Said::Message(text))
    }

    /// Ends a request of the library's whose time, `limit`, is up by a clock of the library's own. By
    /// `id`, as the library gave it.
    ///
    /// Other than one that is cancelled, it is answered: with an error that says by its
    /// [mark](Interrupted) whether it was sent. What was not sent never will be; of what was, the
    /// server is told that nobody waits. If an answer is on its way already, that is the answer.
    /// While the session is being opened this waits, behind what the library has said.
    ///
    /// As with [`send`](Self::send), the future is the caller's own; dropped, it may not have happened.
    ///
    /// # Errors
    ///
    /// [`RelayClosed`].
    pub fn time_is_up(
        &self,
        id: Box<RawValue>,
        limit: Duration,
    ) -> impl Future<Output = Result<(), RelayClosed>> + Send + use<> {
        self.say(Said::TimeIsUp(id, limit))
    }

    fn say(&self, what: Said) -> impl Future<Output = Result<(), RelayClosed>> + Send + use<> {
        let said = self.said.clone();
        async move {
            let said = said.ok_or(RelayClosed)?;
            said.send(what).await.map_err(|_| RelayClosed)
        }
    }

    /// The next JSON-RPC message; `None` once the session has ended. Waits through outages.
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<String> {
        self.heard.recv().await
    }

    /// Says goodbye, once what is under way has ended or two seconds are over.
    pub async fn close(&mut self) {
        self.said = None;
        self.heard.close();
        // It ends by being dropped.
        while self.ended.changed().await.is_ok() {}
    }

    /// True once the session has ended, or is being closed.
    pub fn is_closed(&self) -> bool {
        self.said.as_ref().is_none_or(mpsc::Sender::is_closed)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The session has ended for good, or was closed on request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection to the mcp server is closed for good; the log says why")]
pub struct RelayClosed;

/// Why a request of a library's has no answer: the mark in the data of the error that it gets
/// instead.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Interrupted {
    /// It was sent, and the connection was lost or its time was up: nobody knows whether the server
    /// acted on it.
    OutcomeUnknown,
    /// Not a byte of it was sent: making it again is safe.
    NotSent,
}

#[derive(Deserialize, Serialize)]
struct Mark {
    #[serde(rename = "towerWs")]
    interrupted: Interrupted,
}

impl Interrupted {
    /// The code of such an error: the first that JSON-RPC leaves to implementations.
    pub const CODE: i64 = -32000;

    /// Reads the mark. `None`: the error is the server's own.
    pub fn of(code: i64, data: Option<&Value>) -> Option<Self> {
        let mark = Mark::deserialize(data?).ok()?;
        (code == Self::CODE).then_some(mark.interrupted)
    }
}
