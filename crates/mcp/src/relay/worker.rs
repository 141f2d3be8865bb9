//! Between the messages of a library and the calls of the stack.

use std::{collections::HashMap, time::Duration};

use bytes::BytesMut;
use futures_core::future::BoxFuture;
use serde::Deserialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tower_ws_client::{CallError, Client, Inbound, Incoming, Leftovers, Notification, Reply, Request, ServerRequest};
use tower_ws_core::{
    BoxError, Causes,
    jsonrpc::{Call, RpcError, with_id, write_answer},
};

use super::{Interrupted, Mark};
use crate::{
    era::Era,
    server::{Capabilities, Implementation},
    session::Session,
};

pub(super) type Connect = Box<
    dyn FnOnce(
            Implementation,
            Capabilities,
            Option<Era>,
        ) -> BoxFuture<'static, Result<(Client, Inbound, Session), BoxError>>
        + Send,
>;

/// How long what is under way may go on when the library closes.
const GRACE: Duration = Duration::from_secs(2);

/// How many requests of the server's the library may be working on. One more is answered with an
/// error.
const ASKED: usize = 256;

/// How many requests of the library's are under way: the stack's own bound for calls.
const CALLS: usize = 1024;

/// A message of the library's.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// The parameters by which a library introduces itself, in either era.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Introduction {
    capabilities: Capabilities,
    #[serde(rename = "clientInfo")]
    client: Option<Implementation>,
    #[serde(rename = "_meta")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Capabilities,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    client: Option<Implementation>,
}

/// A request that has ended: its id, and how.
type Ended = (Box<RawValue>, Result<Reply, CallError>);

/// A request of the server's that the library has not answered.
struct Asked {
    /// The id that the server knows it by.
    id: Box<RawValue>,
    request: ServerRequest,
}

pub(super) struct Worker {
    library: mpsc::Sender<String>,
    client: Client,
    session: Session,
    calls: JoinSet<Ended>,
    /// By the library's id, to be given up when the library does.
    handles: HashMap<String, AbortHandle>,
    /// What the server asks, by the id that the library knows.
    pending: HashMap<u64, Asked>,
    next_asked: u64,
}

impl Worker {
    pub(super) async fn run(connect: Connect, mut from_library: mpsc::Receiver<String>, library: mpsc::Sender<String>) {
        let Some(first) = from_library.recv().await.and_then(|message| envelope(&message)) else {
            return;
        };
        let Some((mut worker, mut inbound)) = Self::open(connect, &first, library).await else {
            return;
        };
        worker.opened(first).await;
        loop {
            let has_room = worker.calls.len() < CALLS;
            tokio::select! {
                message = from_library.recv(), if has_room => match message {
                    Some(message) => worker.on_library_message(&message).await,
                    None => break,
                },
                Some(ended) = worker.calls.join_next() => {
                    // One that was given up has no answer.
                    if let Ok((id, outcome)) = ended {
                        worker.answered(&id, outcome).await;
                    }
                }
                item = inbound.next() => match item {
                    Some(item) => worker.incoming(item).await,
                    None => return,
                },
            }
        }
        let Leftovers { unsent, unanswered, .. } = worker.client.close(GRACE).await;
        if !unsent.is_empty() || unanswered > 0 {
            tracing::warn!(
                unsent = unsent.len(),
                unanswered,
                "closed before all was sent and answered"
            );
        }
    }

    /// Connects as the library introduces itself.
    async fn open(connect: Connect, first: &Envelope, library: mpsc::Sender<String>) -> Option<(Self, Inbound)> {
        let params = first.params.as_ref().map_or("{}", |params| params.get());
        let introduction: Introduction = serde_json::from_str(params).unwrap_or_default();
        // Whoever initializes knows no other way.
        let (only, capabilities, client) = match first.method.as_deref() {
            Some("server/discover") => (None, introduction.meta.capabilities, introduction.meta.client),
            _ => (Some(Era::Legacy), introduction.capabilities, introduction.client),
        };
        let client = client.unwrap_or_else(|| Implementation::new("tower-ws-mcp", env!("CARGO_PKG_VERSION")));
        let connecting = connect(client, capabilities, only);
        // The library may give up while we dial.
        let connected = tokio::select! {
            connected = connecting => connected,
            () = library.closed() => return None,
        };
        match connected {
            Ok((client, inbound, session)) => {
                let worker = Self {
                    library,
                    client,
                    session,
                    calls: JoinSet::new(),
                    handles: HashMap::new(),
                    pending: HashMap::new(),
                    next_asked: 0,
                };
                Some((worker, inbound))
            }
            Err(error) => {
                tracing::error!(error = %Causes(&*error), "no connection to the mcp server");
                None
            }
        }
    }

    /// Answers the message that opened the session.
    async fn opened(&mut self, first: Envelope) {
        let Some(server) = self.session.server() else { return };
        match (first.method.as_deref(), server.era(), first.id) {
            (Some("server/discover"), Era::Modern, Some(id)) | (Some("initialize"), Era::Legacy, Some(id)) => {
                self.answer(&id, Ok(server.raw().get())).await;
            }
            // It will initialize then.
            (Some("server/discover"), Era::Legacy, Some(id)) => {
                self.answer(
                    &id,
                    Err(&RpcError::new(RpcError::METHOD_NOT_FOUND, "the server is a legacy one")),
                )
                .await;
            }
            (Some(_), _, id) => self.request(Envelope { id, ..first }).await,
            _ => {}
        }
    }

    async fn on_library_message(&mut self, message: &str) {
        let Some(mut envelope) = envelope(message) else { return };
        match (envelope.method.as_deref(), envelope.id.take()) {
            (Some("initialize"), Some(id)) => match self.session.server() {
                Some(server) if server.era() == Era::Legacy => self.answer(&id, Ok(server.raw().get())).await,
                _ => {
                    self.answer(&id, Err(&RpcError::new(-32022, "the server is a modern one")))
                        .await;
                }
            },
            // The stack has said it, and will say it again.
            (Some("notifications/initialized"), None) => {}
            (Some("notifications/cancelled"), None) => self.cancelled(&envelope),
            (Some(_), id) => self.request(Envelope { id, ..envelope }).await,
            (None, Some(id)) => self.respond(&id, envelope),
            (None, None) => {}
        }
    }

    /// A request or a notification.
    async fn request(&mut self, envelope: Envelope) {
        let Some(method) = envelope.method else { return };
        let listens = method == "subscriptions/listen";
        let mut request = Request::new(method);
        if let Some(params) = &envelope.params {
            request = request.raw_params(params);
        }
        let client = self.client.clone();
        match envelope.id {
            Some(id) => {
                // A library has time limits of its own, if it is to have any. What only waits for
                // its end has none.
                if listens {
                    request = request.timeout(Duration::MAX);
                }
                let key = id.get().to_owned();
                let handle = self.calls.spawn(async move { (id, client.send(request).await) });
                self.handles.insert(key, handle);
            }
            None => {
                if let Err(error) = client.notify(request).await {
                    tracing::debug!(%error, "a notification was not taken");
                }
            }
        }
    }

    /// The library waits no longer: dropping the call tells the server, under the id that it knows.
    fn cancelled(&mut self, envelope: &Envelope) {
        #[derive(Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            id: Box<RawValue>,
        }
        let params = envelope.params.as_ref().map_or("{}", |params| params.get());
        if let Ok(cancelled) = serde_json::from_str::<Cancelled>(params)
            && let Some(handle) = self.handles.remove(cancelled.id.get())
        {
            handle.abort();
        }
    }

    /// The library answers a request of the server's.
    fn respond(&mut self, id: &RawValue, envelope: Envelope) {
        let request = id.get().parse().ok().and_then(|id: u64| self.pending.remove(&id));
        let Some(Asked { request, .. }) = request else {
            return;
        };
        match (envelope.result, envelope.error) {
            (Some(result), _) => {
                // It is JSON already.
                let _ = request.respond(&result);
            }
            (None, Some(error)) => request.reject(&error),
            (None, None) => {}
        }
    }

    async fn answered(&mut self, id: &RawValue, outcome: Result<Reply, CallError>) {
        self.handles.remove(id.get());
        let outcome = outcome.and_then(|reply| Ok(reply.raw_result()?.to_owned()));
        match outcome {
            Ok(result) => self.answer(id, Ok(result.get())).await,
            Err(CallError::Rpc(error)) => self.answer(id, Err(&error)).await,
            Err(error) => {
                let interrupted = match error.may_have_been_seen() {
                    true => Interrupted::OutcomeUnknown,
                    false => Interrupted::NotSent,
                };
                let mut answer = RpcError::new(Interrupted::CODE, error.to_string());
                answer.data = to_raw_value(&Mark { interrupted }).ok();
                self.answer(id, Err(&answer)).await;
            }
        }
    }

    async fn incoming(&mut self, item: Incoming) {
        match item {
            Incoming::Notification(cancelled) if cancelled.method() == "notifications/cancelled" => {
                self.cancelled_by_server(&cancelled).await;
            }
            Incoming::Notification(notification) => self.send(notification.text()).await,
            Incoming::Request(request) => self.forward(request).await,
            Incoming::Error(error) => {
                let mut text = Vec::new();
                write_answer(&mut text, RawValue::NULL, Err(&error));
                self.send(&text).await;
            }
            // Its server waits for no answer any more.
            Incoming::Down(_) => {
                let gone: Vec<u64> = self.pending.drain().map(|(id, _)| id).collect();
                for id in gone {
                    self.cancel(id, "the connection that it came on is gone").await;
                }
            }
            Incoming::Gap { missed } => tracing::warn!(missed, "the library above did not read fast enough"),
            // The stack logs what becomes of its connections.
            _ => {}
        }
    }

    /// The server asks: the library gets it under an id of ours, since those of two connections may
    /// be the same.
    async fn forward(&mut self, request: ServerRequest) {
        if self.pending.len() >= ASKED {
            return request.reject(&RpcError::new(RpcError::BUSY, "too many requests at once"));
        }
        self.next_asked += 1;
        let id = self.next_asked;
        let theirs = Call::parse(request.text())
            .ok()
            .and_then(|call| call.id.map(ToOwned::to_owned));
        if let (Some(theirs), Some(text)) = (theirs, with_id(request.text(), id)) {
            self.pending.insert(id, Asked { id: theirs, request });
            self.send(&text).await;
        }
    }

    /// The server waits no longer: the library is told under the id that it knows.
    async fn cancelled_by_server(&mut self, notification: &Notification) {
        #[derive(Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            id: Box<RawValue>,
        }
        let Ok(cancelled) = notification.params::<Cancelled>() else {
            return;
        };
        let mut pending = self.pending.iter();
        let found = pending.find_map(|(id, asked)| (asked.id.get() == cancelled.id.get()).then_some(*id));
        if let Some(id) = found {
            self.pending.remove(&id);
            self.cancel(id, "cancelled by the server").await;
        }
    }

    /// Tells the library that nobody waits for its answer.
    async fn cancel(&self, id: u64, reason: &str) {
        let params = json!({ "requestId": id, "reason": reason });
        let text = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        self.send(text.to_string().as_bytes()).await;
    }

    /// Gives the library the answer to a request of its own.
    async fn answer(&self, id: &RawValue, answer: Result<&str, &RpcError>) {
        let mut text = BytesMut::new();
        write_answer(&mut text, id, answer);
        self.send(&text).await;
    }

    async fn send(&self, text: &[u8]) {
        // What was read as JSON is UTF-8. An error says that nobody is left to hear it.
        if let Ok(text) = str::from_utf8(text) {
            let _ = self.library.send(text.to_owned()).await;
        }
    }
}

/// The envelope of a message, with the rest raw.
fn envelope(message: &str) -> Option<Envelope> {
    let envelope = serde_json::from_str(message);
    if envelope.is_err() {
        tracing::warn!("what the library above said is no json-rpc: it was left out");
    }
    envelope.ok()
}
