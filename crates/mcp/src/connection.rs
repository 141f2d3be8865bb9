use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use pin_project::{pin_project, pinned_drop};
use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::{
    BoxError, Connection, Event, Outgoing, Up, forward_sink,
    jsonrpc::{Call, Codec, Kind, parse_batch, scan, splice, with_id},
};

use crate::{era::Era, meta, replay::Noted, server::ServerInfo, session::Session};

/// A connection on which MCP is spoken.
///
/// On the way out, requests to a modern server get the metadata of this connection, and what the
/// server will have to be told again is remembered. On the way in, reports of progress go to the
/// calls that wait for them. Everything else passes.
#[pin_project(PinnedDrop)]
pub struct McpConnection<C, K> {
    #[pin]
    inner: C,
    codec: K,
    session: Session,
    /// Requests say of themselves what they are.
    modern: bool,
    /// What goes up before anything else comes in: what is left of a batch, what this layer tells.
    unpacked: VecDeque<Bytes>,
}

impl<C, K> McpConnection<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    fn came_up(mut self: Pin<&mut Self>, up: &Up) {
        let this = self.as_mut().project();
        let server = up.extensions.get::<ServerInfo>();
        *this.modern = server.is_some_and(|server| server.era() == Era::Modern);
        // What it told meanwhile went to nobody: those above are to look again.
        let stale = server.map_or(&[][..], ServerInfo::stale).iter();
        let changed = stale.map(|list| format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#));
        this.unpacked.extend(changed.map(Bytes::from));
        let given_up = this.session.lock().replays.given_up();
        for text in given_up {
            self.as_mut().send_now(text);
        }
    }

    /// Sends a message of this layer's own at once, or not at all.
    fn send_now(self: Pin<&mut Self>, text: Bytes) {
        let this = self.project();
        if let Ok(message) = this.codec.encode(text) {
            // Whether it could be sent, the events tell.
            let _ = this.inner.start_send(Outgoing::new(message).control());
        }
    }

    /// Takes a batch apart: those above see its messages one by one. What is no sound batch goes up
    /// as it is, for the client to judge.
    fn unpack(self: Pin<&mut Self>, message: &C::Message) -> bool {
        let this = self.project();
        let Some(text) = this
            .codec
            .text(message)
            .filter(|text| matches!(scan(text), Ok(Kind::Batch)))
        else {
            return false;
        };
        let Ok(messages) = parse_batch(text) else {
            return false;
        };
        let is_nested = |message: &&RawValue| message.get().starts_with('[');
        if messages.iter().any(is_nested) {
            return false;
        }
        let texts = messages
            .into_iter()
            .map(|message| Bytes::copy_from_slice(message.get().as_bytes()));
        this.unpacked.extend(texts);
        true
    }

    /// A message that came in; `None` if it is not for those above.
    fn incoming(&self, message: C::Message) -> Option<C::Message> {
        let Some(text) = self.codec.text(&message) else {
            return Some(message);
        };
        let other = match scan(text) {
            Ok(Kind::Result(id) | Kind::Error(id) | Kind::Broken(id)) => {
                let mut state = self.session.lock();
                // Asked first: there are none, as a rule.
                match state.replays.listens().then(|| state.replays.ended(id)).flatten() {
                    Some(original) => with_id(text, original),
                    None => None,
                }
            }
            Ok(Kind::Call) => match self.notification(text) {
                Notification::Progress => return None,
                Notification::Replaced(other) => Some(other),
                Notification::Unchanged => None,
            },
            _ => None,
        };
        let other = other.and_then(|text| self.codec.encode(text).ok());
        Some(other.unwrap_or(message))
    }

    fn notification(&self, text: &[u8]) -> Notification {
        let Ok(call) = Call::parse(text) else {
            return Notification::Unchanged;
        };
        let Some(params) = call.params else {
            return Notification::Unchanged;
        };
        if call.id.is_some() {
            return Notification::Unchanged;
        }
        if call.method == "notifications/progress" {
            return match self.session.reports().take(params.get()) {
                true => Notification::Progress,
                false => Notification::Unchanged,
            };
        }
        let original = subscription(params).and_then(|id| {
            let original = self.session.lock().replays.original(id.get().parse().ok()?)?;
            splice(text, id, original.to_string().as_bytes())
        });
        original.map_or(Notification::Unchanged, Notification::Replaced)
    }

    /// Remembers what the next connection has to repeat, and stamps requests with the metadata.
    fn outgoing(&self, item: &Outgoing<C::Message>) -> Option<C::Message> {
        let text = self.codec.text(&item.message)?;
        let call = Call::parse(text).ok()?;
        let noted = self.session.lock().replays.note(&call, item.ticket.as_ref());
        let other = match noted {
            Noted::Instead(text) => Some(text),
            Noted::AsItIs => None,
            Noted::Forgotten => {
                tracing::warn!("no room to remember a subscription: it will not be repeated on the next connection");
                None
            }
        };
        let stamped = other.or_else(|| {
            let is_request = self.modern && call.id.is_some();
            is_request.then(|| meta::stamp(text, &call, &self.session.metadata()))?
        });
        self.codec.encode(stamped?).ok()
    }
}

enum Notification {
    /// It has gone to the call that waits for it.
    Progress,
    Replaced(Bytes),
    Unchanged,
}

/// The id of the listen that the parameters of a notification, or a result, belong to.
pub(crate) fn subscription(params: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow, rename = "_meta")]
        meta: Meta<'a>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow, rename = "io.modelcontextprotocol/subscriptionId")]
        id: &'a RawValue,
    }
    Some(serde_json::from_str::<Params<'_>>(params.get()).ok()?.meta.id)
}

impl<C, K> McpConnection<C, K> {
    pub(crate) fn new(inner: C, codec: K, session: Session) -> Self {
        Self {
            inner,
            codec,
            session,
            modern: false,
            unpacked: VecDeque::new(),
        }
    }
}

impl<C, K> Stream for McpConnection<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        loop {
            let this = self.as_mut().project();
            let event = match this.unpacked.pop_front() {
                Some(text) => match this.codec.encode(text) {
                    Ok(message) => Some(Event::Message(message)),
                    Err(_) => continue, // It is UTF-8, as all JSON that was read is.
                },
                None => match ready!(this.inner.poll_next(cx)) {
                    Some(Event::Message(message)) if self.as_mut().unpack(&message) => continue,
                    event => event,
                },
            };
            return Poll::Ready(match event {
                Some(Event::Message(message)) => match self.incoming(message) {
                    Some(message) => Some(Event::Message(message)),
                    None => continue,
                },
                Some(Event::Up(up)) => {
                    self.as_mut().came_up(&up);
                    Some(Event::Up(up))
                }
                Some(Event::Down(down)) => {
                    self.session.lock().replays.lost();
                    Some(Event::Down(down))
                }
                other => other,
            });
        }
    }
}

impl<C, K> Sink<Outgoing<C::Message>> for McpConnection<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    type Error = BoxError;

    fn start_send(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), BoxError> {
        if let Some(message) = self.outgoing(&item) {
            item.message = message;
        }
        self.project().inner.start_send(item)
    }

    forward_sink!(polls inner);
}

#[pinned_drop]
impl<C, K> PinnedDrop for McpConnection<C, K> {
    fn drop(self: Pin<&mut Self>) {
        // One that is aborted says no `Down`.
        self.session.lock().replays.lost();
    }
}

impl<C, K> fmt::Debug for McpConnection<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpConnection")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
