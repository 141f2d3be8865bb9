//! What the peer says of its own accord: notifications and requests.

use std::{fmt, sync::Weak};

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tower_ws_core::jsonrpc::{Call, Malformed, RpcError, write_answer};

use crate::{outbox::Bound, shared::Shared};

/// The peer tells something and wants no answer.
///
/// Its `Debug` shows the method and the size, never the parameters.
#[derive(Clone)]
pub struct Notification {
    text: Bytes,
    method: String,
}

/// The peer asks something.
///
/// Answer it with [`respond`](Self::respond) or [`reject`](Self::reject). One that is dropped is
/// answered with an error, so that the peer never waits in vain. An answer goes only to the
/// connection that asked: once it is gone the answer is dropped, since another connection's ids
/// mean something else.
///
/// Its `Debug` shows the method and the size, never the parameters.
pub struct ServerRequest {
    said: Notification,
    id: Box<RawValue>,
    epoch: u64,
    answered: bool,
    shared: Weak<Shared>,
}

impl Notification {
    /// Reads a message that somebody else took in.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is no call of JSON-RPC.
    pub fn parse(text: Bytes) -> Result<Self, Malformed> {
        let method = Call::parse(&text)?.method.into_owned();
        Ok(Self { text, method })
    }

    pub(crate) fn new(text: Bytes, call: &Call<'_>) -> Self {
        Self {
            method: call.method.clone().into_owned(),
            text,
        }
    }

    /// The method's name.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Parses the parameters.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if they are no `T`. Parameters that are left out count as null.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        let call = Call::parse(&self.text)?;
        let params = call.params.map_or("null", RawValue::get);
        Ok(serde_json::from_str(params)?)
    }

    /// The whole message as JSON text.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("method", &self.method)
            .field("bytes", &self.text.len())
            .finish()
    }
}

impl ServerRequest {
    pub(crate) fn new(said: Notification, id: &RawValue, epoch: u64, shared: Weak<Shared>) -> Self {
        Self {
            said,
            id: id.to_owned(),
            epoch,
            answered: false,
            shared,
        }
    }

    /// The method's name.
    pub fn method(&self) -> &str {
        self.said.method()
    }

    /// Parses the parameters.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if they are no `T`. Parameters that are left out count as null.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        self.said.params()
    }

    /// The whole message as JSON text.
    pub fn text(&self) -> &Bytes {
        self.said.text()
    }

    /// The id that the peer gave it, as JSON text: what it names when it takes the request back.
    pub fn id(&self) -> &RawValue {
        &self.id
    }

    /// Answers with a result.
    ///
    /// # Errors
    ///
    /// What `serde_json` says of a value that is no JSON. Then the peer is answered with an error.
    pub fn respond<T: Serialize + ?Sized>(self, result: &T) -> Result<(), serde_json::Error> {
        let result = serde_json::to_string(result)?;
        self.answer(Ok(&result));
        Ok(())
    }

    /// Answers with an error.
    pub fn reject(self, error: &RpcError) {
        self.answer(Err(error));
    }

    /// Gives no answer: for a request that the peer has taken back.
    pub fn discard(mut self) {
        self.answered = true;
    }

    pub(crate) fn said(&self) -> &Notification {
        &self.said
    }

    /// How large the request is.
    pub(crate) fn bytes(&self) -> usize {
        self.said.text.len()
    }

    /// Answers with an error although nobody has looked at the request. A peer that floods us and
    /// does not read gets only some of these: there is no room for more of them than for other
    /// control messages.
    pub(crate) fn turn_away(mut self, error: &RpcError) {
        self.answered = true;
        if let Some(shared) = self.shared.upgrade() {
            shared.turn_away(self.write(Err(error)));
        }
    }

    fn answer(mut self, answer: Result<&str, &RpcError>) {
        self.send(answer);
    }

    fn send(&mut self, answer: Result<&str, &RpcError>) {
        self.answered = true;
        if let Some(shared) = self.shared.upgrade() {
            shared.answer(self.write(answer));
        }
    }

    fn write(&self, answer: Result<&str, &RpcError>) -> Bound {
        let mut text = BytesMut::new();
        write_answer(&mut text, &self.id, answer);
        Bound {
            epoch: self.epoch,
            text: text.freeze(),
        }
    }
}

impl Drop for ServerRequest {
    fn drop(&mut self) {
        if !self.answered {
            let error = RpcError::new(RpcError::BUSY, "this request was not handled");
            self.send(Err(&error));
        }
    }
}

impl fmt::Debug for ServerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRequest")
            .field("method", &self.said.method)
            .field("bytes", &self.said.text.len())
            .finish_non_exhaustive()
    }
}
