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
use tower_ws_client::{CallError, Client, Inbound, Incoming, Leftovers, Reply, Request, ServerRequest};
use tower_ws_core::{
    BoxError,
    jsonrpc::{RpcError, with_id, write_answer},
};

use super::{Interrupted, Mark};
use crate::{
    era::Era,
    server::{Capabilities, Implementation, ServerInfo},
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
struct Said {
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

pub(super) struct Worker {
    library: mpsc::Sender<String>,
    client: Client,
    session: Session,
    calls: JoinSet<Ended>,
    /// By the library's id, to be given up when the library does.
    handles: HashMap<String, AbortHandle>,
    /// What the server asks, by the id that the library knows.
    asked: HashMap<u64, ServerRequest>,
    next_asked: u64,
}

impl Worker {
    pub(super) async fn run(connect: Connect, mut from_library: mpsc::Receiver<String>, library: mpsc::Sender<String>) {
        let Some(first) = from_library.recv().await.and_then(|message| said(&message)) else {
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
                    Some(message) => worker.said(&message).await,
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
    async fn open(connect: Connect, first: &Said, library: mpsc::Sender<String>) -> Option<(Self, Inbound)> {
        let params = first.params.as_ref().map_or("{}", |params| params.get());
        let said: Introduction = serde_json::from_str(params).unwrap_or_default();
        // Whoever initializes knows no other way.
        let (only, capabilities, client) = match first.method.as_deref() {
            Some("server/discover") => (None, said.meta.capabilities, said.meta.client),
            _ => (Some(Era::Legacy), said.capabilities, said.client),
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
                    asked: HashMap::new(),
                    next_asked: 0,
                };
                Some((worker, inbound))
            }
            Err(error) => {
                tracing::error!(%error, cause = error.source().map(tracing::field::display), "no connection to the mcp server");
                None
            }
        }
    }

    /// Answers the message that opened the session.
    async fn opened(&mut self, first: Said) {
        let Some(server) = self.session.server() else { return };
        match (first.method.as_deref(), server.era(), first.id) {
            (Some("server/discover"), Era::Modern, Some(id)) | (Some("initialize"), Era::Legacy, Some(id)) => {
                self.give(&id, Ok(server.raw().get())).await;
            }
            // It will initialize then.
            (Some("server/discover"), Era::Legacy, Some(id)) => {
                self.give(
                    &id,
                    Err(&RpcError::new(RpcError::METHOD_NOT_FOUND, "the server is a legacy one")),
                )
                .await;
            }
            (Some(_), _, id) => self.request(Said { id, ..first }).await,
            _ => {}
        }
    }

    async fn said(&mut self, message: &str) {
        let Some(mut said) = said(message) else { return };
        match (said.method.as_deref(), said.id.take()) {
            (Some("initialize"), Some(id)) => match self.session.server() {
                Some(server) if server.era() == Era::Legacy => self.give(&id, Ok(server.raw().get())).await,
                _ => {
                    self.give(&id, Err(&RpcError::new(-32022, "the server is a modern one")))
                        .await;
                }
            },
            // The stack has said it, and will say it again.
            (Some("notifications/initialized"), None) => {}
            (Some("notifications/cancelled"), None) => self.cancelled(&said),
            (Some(_), id) => self.request(Said { id, ..said }).await,
            (None, Some(id)) => self.respond(&id, said),
            (None, None) => {}
        }
    }

    /// A request or a notification.
    async fn request(&mut self, said: Said) {
        let Some(method) = said.method else { return };
        let listens = method == "subscriptions/listen";
        let mut request = Request::new(method);
        if let Some(params) = &said.params {
            request = request.raw_params(params);
        }
        let client = self.client.clone();
        match said.id {
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
    fn cancelled(&mut self, said: &Said) {
        #[derive(Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            id: Box<RawValue>,
        }
        let params = said.params.as_ref().map_or("{}", |params| params.get());
        if let Ok(cancelled) = serde_json::from_str::<Cancelled>(params)
            && let Some(handle) = self.handles.remove(cancelled.id.get())
        {
            handle.abort();
        }
    }

    /// The library answers a request of the server's.
    fn respond(&mut self, id: &RawValue, said: Said) {
        let asked = id.get().parse().ok().and_then(|id: u64| self.asked.remove(&id));
        let Some(asked) = asked else { return };
        match (said.result, said.error) {
            (Some(result), _) => {
                // It is JSON already.
                let _ = asked.respond(&result);
            }
            (None, Some(error)) => asked.reject(&error),
            (None, None) => {}
        }
    }

    async fn answered(&mut self, id: &RawValue, outcome: Result<Reply, CallError>) {
        self.handles.remove(id.get());
        let outcome = outcome.and_then(|reply| Ok(reply.raw_result()?.to_owned()));
        match outcome {
            Ok(result) => self.give(id, Ok(result.get())).await,
            Err(CallError::Rpc(error)) => self.give(id, Err(&error)).await,
            Err(error) => {
                let interrupted = match error.may_have_been_seen() {
                    true => Interrupted::OutcomeUnknown,
                    false => Interrupted::NotSent,
                };
                let mut answer = RpcError::new(Interrupted::CODE, error.to_string());
                answer.data = to_raw_value(&Mark { interrupted }).ok();
                self.give(id, Err(&answer)).await;
            }
        }
    }

    async fn incoming(&mut self, item: Incoming) {
        match item {
            Incoming::Notification(said) => self.tell(said.text()).await,
            Incoming::Request(request) => self.ask(request).await,
            Incoming::Up(up) => {
                let changed = up.extensions.get::<ServerInfo>().is_some_and(ServerInfo::has_changed);
                for list in ["tools", "prompts", "resources"].into_iter().filter(|_| changed) {
                    let said = json!({ "jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed") });
                    self.tell(said.to_string().as_bytes()).await;
                }
            }
            Incoming::Gap { missed } => tracing::warn!(missed, "the library above did not read fast enough"),
            // The stack logs what becomes of its connections.
            _ => {}
        }
    }

    /// The server asks: the library gets it under an id of ours, since those of two connections may
    /// be the same.
    async fn ask(&mut self, request: ServerRequest) {
        if self.asked.len() >= ASKED {
            return request.reject(&RpcError::new(RpcError::BUSY, "too many requests at once"));
        }
        self.next_asked += 1;
        let id = self.next_asked;
        if let Some(text) = with_id(request.text(), id) {
            self.asked.insert(id, request);
            self.tell(&text).await;
        }
    }

    /// Gives the library the answer to a request of its own.
    async fn give(&self, id: &RawValue, answer: Result<&str, &RpcError>) {
        let mut text = BytesMut::new();
        write_answer(&mut text, id, answer);
        self.tell(&text).await;
    }

    async fn tell(&self, text: &[u8]) {
        // What was read as JSON is UTF-8. An error says that nobody is left to hear it.
        if let Ok(text) = str::from_utf8(text) {
            let _ = self.library.send(text.to_owned()).await;
        }
    }
}

/// The envelope of a message, with the rest raw.
fn said(message: &str) -> Option<Said> {
    let said = serde_json::from_str(message);
    if said.is_err() {
        tracing::warn!("what the library above said is no json-rpc: it was left out");
    }
    said.ok()
}
