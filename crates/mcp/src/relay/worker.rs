//! Between the messages of a library and the calls of the stack.

use std::{collections::VecDeque, future::poll_fn, time::Duration};

use bytes::BytesMut;
use futures_core::future::BoxFuture;
use serde::Serialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::mpsc;
use tower_ws_client::{CallError, Client, Inbound, Incoming, Leftovers, Notification, Request, ServerRequest};
use tower_ws_core::{
    BoxError, Causes,
    jsonrpc::{Call, RpcError, splice, write_answer},
};

use super::{
    Interrupted, Mark,
    asked::Asked,
    calls::{Calls, Ended, Kind},
    envelope::Envelope,
    trusting::Trusting,
};
use crate::{
    connection::subscription,
    era::{Era, code},
    mcp::ROOTS_CHANGED,
    server::{Capabilities, Implementation},
    session::Session,
};

/// How the stack is to introduce itself: as the library does.
pub(super) struct As {
    pub(super) client: Implementation,
    pub(super) capabilities: Capabilities,
    pub(super) only: Option<Era>,
    pub(super) version: Option<String>,
}

/// What a library asks for, in order.
pub(super) enum Said {
    Message(String),
    /// That of its request with this id, which is as long as this.
    TimeIsUp(Box<RawValue>, Duration),
}

pub(super) type Connect =
    Box<dyn FnOnce(As) -> BoxFuture<'static, Result<(Client, Inbound, Session), BoxError>> + Send>;

/// How long what is under way may go on when the library closes.
const GRACE: Duration = Duration::from_secs(2);

/// How many requests of the library's are under way: 16,384. One more is answered with an error.
const CALLS: usize = 16 << 10;

/// How many messages wait for the library, before what comes from the server does.
const WAITING: usize = 256;

/// The same, before what comes from the library does.
const FULL: usize = CALLS;

/// How many notifications of the library's wait for room in the stack, before what comes from the
/// library does.
const NOTICES: usize = 1024;

pub(super) struct Worker {
    client: Client,
    session: Session,
    calls: Calls,
    asked: Asked,
    trust: Trusting,
    /// To the library. Nothing here waits for it: a library that waits for us must be heard.
    outbox: VecDeque<String>,
    /// To the server, in order.
    notices: mpsc::Sender<Request>,
}

impl Worker {
    pub(super) async fn run(
        connect: Connect,
        trust: Trusting,
        mut from_library: mpsc::Receiver<Said>,
        library: mpsc::Sender<String>,
    ) {
        let first = loop {
            match from_library.recv().await {
                Some(Said::Message(message)) => break Envelope::parse(&message),
                // Of a request that it has not made.
                Some(Said::TimeIsUp(..)) => {}
                None => break None,
            }
        };
        let Some(first) = first else { return };
        let Some((mut worker, mut inbound)) = Self::open(connect, trust, &first, &library).await else {
            return;
        };
        worker.opened(first);
        loop {
            let (waiting, notices) = (worker.outbox.len(), worker.notices.capacity());
            let Self { outbox, calls, .. } = &mut worker;
            tokio::select! {
                room = library.reserve(), if waiting > 0 => match room {
                    Ok(room) => {
                        if let Some(text) = outbox.pop_front() {
                            room.send(text);
                        }
                    }
                    Err(_) => break,
                },
                message = from_library.recv(), if waiting < FULL && notices > 0 => match message {
                    Some(Said::Message(message)) => worker.on_library_message(&message),
                    Some(Said::TimeIsUp(id, limit)) => worker.calls.time_is_up(&id, limit),
                    None => break,
                },
                Some(ended) = poll_fn(|cx| calls.poll_ended(cx)), if waiting < WAITING => worker.answered(ended),
                item = inbound.next(), if waiting < WAITING => match item {
                    Some(item) => worker.incoming(item),
                    None => return worker.ended(&library).await,
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
    async fn open(
        connect: Connect,
        trust: Trusting,
        first: &Envelope,
        library: &mpsc::Sender<String>,
    ) -> Option<(Self, Inbound)> {
        let introduction = first.introduction();
        let discovers = first.method.as_deref() == Some("server/discover");
        let (capabilities, client) = match discovers {
            true => (introduction.meta.capabilities, introduction.meta.client),
            false => (introduction.capabilities, introduction.client),
        };
        let client = client.unwrap_or_else(|| Implementation::new("tower-ws-mcp", env!("CARGO_PKG_VERSION")));
        let connecting = connect(As {
            client,
            capabilities,
            // Whoever initializes knows no other way.
            only: (!discovers).then_some(Era::Legacy),
            version: introduction.protocol_version,
        });
        // The library may give up while we dial.
        let connected = tokio::select! {
            connected = connecting => connected,
            () = library.closed() => return None,
        };
        match connected {
            Ok((client, inbound, session)) => {
                let worker = Self {
                    notices: notifier(client.clone()),
                    client,
                    session,
                    calls: Calls::default(),
                    asked: Asked::default(),
                    trust,
                    outbox: VecDeque::new(),
                };
                Some((worker, inbound))
            }
            Err(error) => {
                let why = Causes(&*error).to_string();
                tracing::error!(error = why, "no connection to the mcp server");
                if let Some(id) = &first.id {
                    let _ = library.send(unanswered(id, why, Interrupted::NotSent)).await;
                }
                None
            }
        }
    }

    /// The session has ended for good: the library hears of each of its requests, and then no more.
    async fn ended(mut self, library: &mpsc::Sender<String>) {
        while let Some(ended) = poll_fn(|cx| self.calls.poll_ended(cx)).await {
            self.answered(ended);
        }
        for text in self.outbox {
            if library.send(text).await.is_err() {
                return;
            }
        }
    }

    /// Answers the message that opened the session.
    fn opened(&mut self, first: Envelope) {
        let Some(server) = self.session.server() else { return };
        match (first.method.as_deref(), server.era(), first.id) {
            (Some("server/discover"), Era::Modern, Some(id)) | (Some("initialize"), Era::Legacy, Some(id)) => {
                self.answer(&id, Ok(server.raw().get()));
            }
            // It will initialize then.
            (Some("server/discover"), Era::Legacy, Some(id)) => {
                let legacy = RpcError::new(RpcError::METHOD_NOT_FOUND, "the server is a legacy one");
                self.answer(&id, Err(&legacy));
            }
            (Some(_), _, id) => self.request(Envelope { id, ..first }),
            _ => {}
        }
    }

    fn on_library_message(&mut self, message: &str) {
        let Some(mut envelope) = Envelope::parse(message) else {
            return;
        };
        match (envelope.method.as_deref(), envelope.id.take()) {
            (Some("initialize"), Some(id)) => match self.session.server() {
                Some(server) if server.era() == Era::Legacy => self.answer(&id, Ok(server.raw().get())),
                _ => self.answer(&id, Err(&RpcError::new(-32022, "the server is a modern one"))),
            },
            // The stack has said it, and will say it again.
            (Some("notifications/initialized"), None) => {}
            (Some(ROOTS_CHANGED), None) if self.session.era() == Some(Era::Modern) => {}
            (Some("notifications/cancelled"), None) => {
                if let Some(id) = Envelope::cancelled(envelope.params.as_deref()) {
                    self.calls.give_up(&id);
                }
            }
            (Some(_), id) => self.request(Envelope { id, ..envelope }),
            (None, Some(id)) => self.respond(&id, envelope),
            (None, None) => {}
        }
    }

    /// A request or a notification.
    fn request(&mut self, envelope: Envelope) {
        let Some(method) = envelope.method else { return };
        let mut request = Request::new(method);
        if request.method() == "tools/call" {
            request = request.replay(self.trust.replay_of(envelope.params.as_deref()));
        }
        if let Some(params) = &envelope.params {
            request = request.raw_params(params);
        }
        match envelope.id {
            Some(id) if self.calls.len() >= CALLS => {
                let why = format!("there are {CALLS} requests under way already");
                self.outbox.push_back(unanswered(&id, why, Interrupted::NotSent));
            }
            // A library has time limits of its own, if it is to have any, and cancels then.
            Some(id) => self
                .calls
                .begin(self.client.clone(), id, request.timeout(Duration::MAX)),
            // There was room for one when this message was taken.
            None => drop(self.notices.try_send(request)),
        }
    }

    /// The library answers a request of the server's.
    fn respond(&mut self, id: &RawValue, envelope: Envelope) {
        let Some(request) = self.asked.answered(id) else { return };
        match (envelope.result, envelope.error) {
            (Some(result), _) => {
                // It is JSON already.
                let _ = request.respond(&result);
            }
            (None, Some(error)) => request.reject(&error),
            (None, None) => {}
        }
    }

    fn answered(&mut self, Ended { id, outcome, kind }: Ended) {
        let result = outcome.and_then(|reply| Ok(reply.raw_result()?.to_owned()));
        match result {
            Ok(result) => {
                if kind == Kind::Tools {
                    self.trust.learn(&result);
                }
                // It names the listen that it ends.
                let named = (kind == Kind::Listen).then(|| subscription(&result)).flatten();
                let named = named.and_then(|own| splice(result.get().as_bytes(), own, id.get().as_bytes()));
                let text = named.as_deref().map_or(Ok(result.get()), str::from_utf8);
                self.answer(&id, Ok(text.unwrap_or(result.get())));
            }
            // No answer, but what the server has said.
            Err(CallError::Rpc(error)) if kind == Kind::Listen && error.code == code::CANCELLED => {
                self.cancel(&id, &error.message);
            }
            Err(CallError::Rpc(error)) => self.answer(&id, Err(&error)),
            Err(error) => {
                let interrupted = match error.may_have_been_seen() {
                    true => Interrupted::OutcomeUnknown,
                    false => Interrupted::NotSent,
                };
                self.outbox
                    .push_back(unanswered(&id, Causes(&error).to_string(), interrupted));
            }
        }
    }

    fn incoming(&mut self, item: Incoming) {
        match item {
            Incoming::Notification(cancelled) if cancelled.method() == "notifications/cancelled" => {
                let theirs = cancelled.params::<Option<Box<RawValue>>>().ok().flatten();
                if let Some(theirs) = Envelope::cancelled(theirs.as_deref())
                    && let Some(id) = self.asked.cancelled(&theirs)
                {
                    self.cancel(id, "cancelled by the server");
                }
            }
            Incoming::Notification(notification) => self.notified(&notification),
            Incoming::Request(request) => self.forward(request),
            Incoming::Error(error) => self.answer(RawValue::NULL, Err(&error)),
            // Its server waits for no answer any more.
            Incoming::Down(_) => {
                for id in self.asked.lost() {
                    self.cancel(id, "the connection that it came on is gone");
                }
            }
            Incoming::Gap { missed } => tracing::warn!(missed, "the library above did not read fast enough"),
            // The stack logs what becomes of its connections.
            _ => {}
        }
    }

    /// What the server tells. That of a listen names it as the library does.
    fn notified(&mut self, notification: &Notification) {
        let text = notification.text();
        let named = Call::parse(text).ok().and_then(|call| {
            let own = subscription(call.params?)?;
            let library = self.calls.listen(own.get().parse().ok()?)?;
            splice(text, own, library.get().as_bytes())
        });
        self.say(named.as_deref().unwrap_or(text));
    }

    fn forward(&mut self, request: ServerRequest) {
        match self.asked.ask(request) {
            Ok(text) => self.outbox.extend(text),
            Err(request) => request.reject(&RpcError::new(RpcError::BUSY, "too many requests at once")),
        }
    }

    /// Tells the library that nobody waits for its answer, or that its listen has ended.
    fn cancel(&mut self, id: impl Serialize, reason: &str) {
        let params = json!({ "requestId": id, "reason": reason });
        let text = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        self.outbox.push_back(text.to_string());
    }

    /// Gives the library the answer to a request of its own.
    fn answer(&mut self, id: &RawValue, answer: Result<&str, &RpcError>) {
        let mut text = BytesMut::new();
        write_answer(&mut text, id, answer);
        self.say(&text);
    }

    fn say(&mut self, text: &[u8]) {
        // What was read as JSON is UTF-8.
        self.outbox.extend(str::from_utf8(text).map(str::to_owned));
    }
}

/// Passes notifications on, in order, as there is room in the stack.
fn notifier(client: Client) -> mpsc::Sender<Request> {
    let (notices, mut waiting) = mpsc::channel::<Request>(NOTICES);
    tokio::spawn(async move {
        while let Some(notice) = waiting.recv().await {
            if let Err(error) = client.notify(notice).await {
                tracing::debug!(%error, "a notification was not taken");
            }
        }
    });
    notices
}

/// The answer to a request that the server has not answered.
fn unanswered(id: &RawValue, why: String, interrupted: Interrupted) -> String {
    let mut error = RpcError::new(Interrupted::CODE, why);
    error.data = to_raw_value(&Mark { interrupted }).ok();
    let mut text = Vec::new();
    write_answer(&mut text, id, Err(&error));
    String::from_utf8(text).unwrap_or_default()
}
