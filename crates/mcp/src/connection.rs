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
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tokio::time::Instant;
use tower_ws_core::{
    Closed, Connection, Event, Outgoing, Suspicion, Ticket, Up, forward_sink,
    jsonrpc::{Call, Codec, Kind, RpcError, begins_as_request, begins_as_result, scan, splice, with_id, write_answer},
};

use crate::{
    batch::taken_apart,
    era::{Era, code},
    listen::Filter,
    meta,
    replay::{Hearer, Noted, Replays},
    server::ServerInfo,
    session::Session,
};

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
    /// Whom to tell that the server is at work.
    suspicion: Option<Suspicion>,
    /// What goes up before anything else comes in: what is left of a batch, what this layer tells.
    unpacked: VecDeque<Bytes>,
}

impl<C, K> McpConnection<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    fn came_up(mut self: Pin<&mut Self>, up: &mut Up) {
        let this = self.as_mut().project();
        *this.suspicion = Some(up.extensions.get_or_insert_default::<Suspicion>().clone());
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

    /// A message that came in; `None` if it is not for those above.
    fn incoming(self: Pin<&mut Self>, message: C::Message) -> Option<C::Message> {
        let this = self.project();
        let Some(text) = this.codec.text(&message) else {
            return Some(message);
        };
        // As nearly all begin. A result means something here only while there are listens.
        if begins_as_result(text).is_some() && !this.session.lock().replays.listens() {
            return Some(message);
        }
        let other = match scan(text) {
            Ok(Kind::Result(id) | Kind::Error(id) | Kind::Broken(id)) => {
                let mut state = this.session.lock();
                // Asked first: there are none, as a rule.
                match state.replays.listens().then(|| state.replays.ended(id)).flatten() {
                    Some(original) => with_id(text, original),
                    None => None,
                }
            }
            Ok(Kind::Call) => match notification(this.session, this.suspicion.as_ref(), text) {
                Heard::Unchanged => None,
                Heard::Replaced(other) => Some(other),
                Heard::Taken(instead) => {
                    this.unpacked.extend(instead);
                    return None;
                }
            },
            _ => None,
        };
        let other = other.and_then(|text| this.codec.encode(text).ok());
        Some(other.unwrap_or(message))
    }

    /// Remembers what the next connection has to repeat, and stamps requests with the metadata.
    fn outgoing(&self, item: &Outgoing<C::Message>) -> Option<C::Message> {
        let text = self.codec.text(&item.message)?;
        let other = match begins_as_request(text) {
            Some((_, method, _)) if !Replays::remembers(method) => None,
            _ => self.noted(text, item.ticket.as_ref()),
        };
        let stamped = other.or_else(|| {
            let metadata = self.modern.then(|| self.session.metadata())?;
            meta::stamp(text, &metadata)
        });
        self.codec.encode(stamped?).ok()
    }

    /// Remembers what the next connection has to repeat. Another text, if it goes with one.
    fn noted(&self, text: &[u8], ticket: Option<&Ticket>) -> Option<Bytes> {
        let call = Call::parse(text).ok()?;
        match self.session.lock().replays.note(&call, ticket) {
            Noted::Instead(text) => return Some(text),
            Noted::AsItIs => {}
            Noted::Forgotten => {
                tracing::warn!("no room to remember a subscription: it will not be repeated on the next connection");
            }
        }
        None
    }
}

/// What becomes of a notification.
enum Heard {
    /// It goes up as it is.
    Unchanged,
    /// It goes up with another text.
    Replaced(Bytes),
    /// It has gone to whoever waits for it; these come in its place.
    Taken(Vec<Bytes>),
}

fn notification(session: &Session, suspicion: Option<&Suspicion>, text: &[u8]) -> Heard {
    let Ok(Call {
        id: None,
        method,
        params: Some(params),
        ..
    }) = Call::parse(text)
    else {
        return Heard::Unchanged;
    };
    match &*method {
        "notifications/progress" => {
            if let Some(suspicion) = suspicion {
                suspicion.progress(Instant::now());
            }
            match session.reports().take(params.get()) {
                true => Heard::Taken(Vec::new()),
                false => Heard::Unchanged,
            }
        }
        "notifications/cancelled" => listen_cancelled(session, params).map_or(Heard::Unchanged, Heard::Replaced),
        method => told_under_listen(session, text, method, params).unwrap_or(Heard::Unchanged),
    }
}

/// The server ends a listen without answering it: whoever waits for the answer gets an error.
fn listen_cancelled(session: &Session, params: &RawValue) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Cancelled {
        #[serde(rename = "requestId")]
        id: u64,
        #[serde(default)]
        reason: Option<String>,
    }
    let Cancelled { id, reason } = serde_json::from_str(params.get()).ok()?;
    let original = session.lock().replays.cancelled(id)?;
    let error = RpcError::new(code::CANCELLED, reason.as_deref().unwrap_or("cancelled by the server"));
    let original = to_raw_value(&original).ok()?;
    let mut answer = Vec::new();
    write_answer(&mut answer, &original, Err(&error));
    Some(answer.into())
}

/// What is told under a listen goes to its reader, or up under the id that it is known by there.
fn told_under_listen(session: &Session, text: &[u8], method: &str, params: &RawValue) -> Option<Heard> {
    let mut state = session.lock();
    // Asked first: there are none, as a rule.
    let id = state.replays.listens().then(|| subscription(params)).flatten()?;
    let current: u64 = id.get().parse().ok()?;
    let Hearer { original, reader } = state.replays.hearer(current)?;
    let acknowledges = method == "notifications/subscriptions/acknowledged";
    let again = acknowledges && state.replays.acknowledged(current)?;
    drop(state);
    let renamed = original.and_then(|original| splice(text, id, original.to_string().as_bytes()));
    match reader {
        Some(reader) if acknowledges => reader.is_active(filter(params)),
        Some(reader) => reader.tell(renamed.as_deref().unwrap_or(text)),
        // Agreed to once already: a second time makes no sense to those above. That anything may
        // have changed meanwhile does.
        None if again => return Some(Heard::Taken(changes(&filter(params), id))),
        None => return renamed.map(Heard::Replaced),
    }
    Some(Heard::Taken(Vec::new()))
}

/// What the server has agreed to tell of.
fn filter(params: &RawValue) -> Filter {
    #[derive(Deserialize)]
    struct Acknowledged {
        notifications: Filter,
    }
    serde_json::from_str(params.get()).map_or_else(|_| Filter::new(), |read: Acknowledged| read.notifications)
}

/// How many changes are told in place of a second acknowledgement: the server says how many there
/// are, and each costs more here than it did there. As many as are subscribed to again.
const CHANGES: usize = Replays::SUBSCRIPTIONS;

/// What the server would have told under this listen if all of it had changed.
fn changes(filter: &Filter, listen: &RawValue) -> Vec<Bytes> {
    let told = filter.notices().take(CHANGES).map(|(method, mut params)| {
        params.insert("_meta".to_owned(), json!({ SUBSCRIPTION: listen }));
        let text = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        text.to_string().into()
    });
    told.collect()
}

/// The member of `_meta` that says under which listen something is told.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

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
            suspicion: None,
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
                    Some(Event::Message(message)) => match taken_apart(this.codec, &message) {
                        Some(texts) => {
                            this.unpacked.extend(texts);
                            continue;
                        }
                        None => Some(Event::Message(message)),
                    },
                    event => event,
                },
            };
            return Poll::Ready(match event {
                Some(Event::Message(message)) => match self.as_mut().incoming(message) {
                    Some(message) => Some(Event::Message(message)),
                    None => continue,
                },
                Some(Event::Up(mut up)) => {
                    self.as_mut().came_up(&mut up);
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
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), Closed> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_agrees_to_a_million_resources_fills_no_memory() {
        let mut filter = Filter::new();
        filter.resource_subscriptions = vec!["x".to_owned(); 1_000_000];
        let id = to_raw_value(&7).unwrap();
        assert_eq!(changes(&filter, &id).len(), CHANGES);
    }
}
