//! The other end of a layer whose peer has to speak with it, right below that layer: so a stack may
//! have it anywhere, and what stands below sees messages as it does without.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, Stream, ready};
use serde_json::{Value, json};
use tower_ws::{
    core::{BoxConnection, Carry, Closed, Event, Outgoing, Pack},
    crypto::{Hello, KeyRing, Opener, Role, Sealer},
};

/// What the other end does with what it gets.
pub(crate) trait Speaks: Send {
    /// What it says when a connection is up.
    fn begins(&mut self) -> Option<String> {
        None
    }

    /// A message comes from this side: what becomes of it, and what is answered.
    fn hears(&mut self, message: &str) -> (Option<String>, Option<String>);

    /// A message of the peer's passes.
    fn says(&mut self, message: String) -> String {
        message
    }
}

/// A connection with such an end.
pub(crate) struct Far {
    inner: BoxConnection<String>,
    speaks: Box<dyn Speaks>,
    said: VecDeque<String>,
    /// What went down, and what it was before.
    passed: Vec<(String, String)>,
}

impl Far {
    pub(crate) fn new(inner: BoxConnection<String>, speaks: impl Speaks + 'static) -> Self {
        Self {
            inner,
            speaks: Box::new(speaks),
            said: VecDeque::new(),
            passed: Vec::new(),
        }
    }

    /// A message that comes back is what it was.
    fn restore(&mut self, mut item: Outgoing<String>) -> Outgoing<String> {
        if let Some(at) = self.passed.iter().position(|(plain, _)| *plain == item.message) {
            item.message = self.passed.remove(at).1;
        }
        item
    }
}

impl Stream for Far {
    type Item = Event<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(said) = self.said.pop_front() {
            return Poll::Ready(Some(Event::Message(said)));
        }
        let event = ready!(self.inner.as_mut().poll_next(cx));
        Poll::Ready(event.map(|event| match event {
            Event::Up(up) => {
                let first = self.speaks.begins();
                self.said.extend(first);
                Event::Up(up)
            }
            Event::Message(message) => Event::Message(self.speaks.says(message)),
            Event::Dropped(item, reason) => Event::Dropped(self.restore(item), reason),
            other => other,
        }))
    }
}

impl Sink<Outgoing<String>> for Far {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.inner.as_mut().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, mut item: Outgoing<String>) -> Result<(), Closed> {
        let (passes, answer) = self.speaks.hears(&item.message);
        self.said.extend(answer);
        let Some(message) = passes else { return Ok(()) };
        if message != item.message {
            self.passed.push((message.clone(), item.message));
        }
        item.message = message;
        self.inner.as_mut().start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.inner.as_mut().poll_close(cx)
    }
}

// === encryption ===

/// Bytes in a text: two digits each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex;

impl Pack<String> for Hex {
    fn pack(&self, message: &String) -> Option<bytes::Bytes> {
        Some(message.clone().into())
    }

    fn unpack(&self, bytes: bytes::Bytes) -> Option<String> {
        String::from_utf8(bytes.into()).ok()
    }
}

impl Carry<String> for Hex {
    fn carry(&self, bytes: bytes::Bytes) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn carried(&self, message: String) -> Result<bytes::Bytes, String> {
        let digits = message.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok())
            .collect();
        bytes.map(Into::into).ok_or(message)
    }
}

/// Opens what was sealed, and seals what the peer says.
pub(crate) struct Sealed {
    ring: KeyRing,
    /// Until the other side has said its own.
    hello: Option<Hello>,
    ends: Option<(Sealer, Opener)>,
}

impl Sealed {
    pub(crate) fn new(ring: KeyRing) -> Self {
        Self {
            ring,
            hello: Some(Hello::new(Role::Server).unwrap()),
            ends: None,
        }
    }
}

impl Speaks for Sealed {
    fn begins(&mut self) -> Option<String> {
        Some(Hex.carry(self.hello.as_ref()?.to_bytes().into()))
    }

    fn hears(&mut self, message: &str) -> (Option<String>, Option<String>) {
        let bytes = Hex.carried(message.to_owned()).unwrap();
        match &mut self.ends {
            Some((_, opener)) => {
                let plain = opener.open(bytes.into()).unwrap();
                (Some(String::from_utf8(plain).unwrap()), None)
            }
            none => {
                let nonces = self.hello.take().unwrap().meet(&bytes).unwrap();
                *none = Some(nonces.into_pair(self.ring.clone()));
                (None, None)
            }
        }
    }

    fn says(&mut self, message: String) -> String {
        match &mut self.ends {
            Some((sealer, _)) => Hex.carry(sealer.seal(message.as_bytes()).unwrap().into()),
            None => message,
        }
    }
}

// === MCP ===

/// Lets itself be initialized, and passes on the rest.
pub(crate) struct Initialized;

impl Speaks for Initialized {
    fn hears(&mut self, message: &str) -> (Option<String>, Option<String>) {
        let said: Value = serde_json::from_str(message).unwrap_or_default();
        match said["method"].as_str() {
            Some("initialize") => {
                let result = json!({
                    "protocolVersion": said["params"]["protocolVersion"],
                    "capabilities": {},
                    "serverInfo": { "name": "far end", "version": "1" },
                });
                let answer = json!({ "jsonrpc": "2.0", "id": said["id"], "result": result });
                (None, Some(answer.to_string()))
            }
            Some("notifications/initialized") => (None, None),
            _ => (Some(message.to_owned()), None),
        }
    }
}
