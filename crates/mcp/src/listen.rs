//! What a modern server tells under one `subscriptions/listen`.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_ws_client::{CallFuture, Notification};

use crate::{error::McpError, session::Session};

/// What a server is asked to tell of, and what it says that it will.
///
/// ```
/// let filter = tower_ws_mcp::Filter::new().tools().resource("file:///project/config.json");
/// assert!(filter.tools_list_changed && !filter.prompts_list_changed);
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Filter {
    /// That the list of tools has changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tools_list_changed: bool,
    /// That the list of prompts has changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prompts_list_changed: bool,
    /// That the list of resources has changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resources_list_changed: bool,
    /// That one of these resources has changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_subscriptions: Vec<String>,
    /// What a later revision, or an extension, knows besides.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Filter {
    /// Of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also of the list of tools.
    #[must_use]
    pub fn tools(mut self) -> Self {
        self.tools_list_changed = true;
        self
    }

    /// Also of the list of prompts.
    #[must_use]
    pub fn prompts(mut self) -> Self {
        self.prompts_list_changed = true;
        self
    }

    /// Also of the list of resources.
    #[must_use]
    pub fn resources(mut self) -> Self {
        self.resources_list_changed = true;
        self
    }

    /// Also of this resource.
    #[must_use]
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.resource_subscriptions.push(uri.into());
        self
    }

    /// What would have been told if all of it had changed: methods and parameters.
    pub(crate) fn notices(&self) -> impl Iterator<Item = (&'static str, Map<String, Value>)> {
        let lists = [
            (self.tools_list_changed, "notifications/tools/list_changed"),
            (self.prompts_list_changed, "notifications/prompts/list_changed"),
            (self.resources_list_changed, "notifications/resources/list_changed"),
        ];
        let lists = lists.into_iter().filter(|(is_asked, _)| *is_asked);
        let updates = self.resource_subscriptions.iter().map(|uri| {
            let params = Map::from_iter([("uri".to_owned(), uri.as_str().into())]);
            ("notifications/resources/updated", params)
        });
        lists.map(|(_, method)| (method, Map::new())).chain(updates)
    }
}

/// A `subscriptions/listen` under way: a stream of what the server tells under it, and only that.
/// Made by [`Mcp::listen`](crate::Mcp::listen).
///
/// It lives on across redials: the server is asked again on each connection. Dropping it tells the
/// server that nobody listens any more. At most [256](Self::ROOM) notifications and [1
/// MiB](Self::BYTES) wait to be read; then the oldest goes, and a [`Gap`](Listened::Gap) says so.
#[must_use = "the server is told that nobody listens when it is dropped"]
pub struct Listen {
    id: Option<u64>,
    /// `None` once it has ended.
    call: Option<CallFuture>,
    /// How it has ended, until that is read.
    end: Option<Result<(), McpError>>,
    backlog: Backlog,
    session: Session,
    token: String,
}

/// One thing that comes under a [`Listen`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Listened {
    /// From now on the server tells of this: what of the filter it has agreed to. The first item.
    /// Each further one stands for a new connection: what changed before it, nobody was told, so
    /// look again.
    Active(Filter),
    /// The server tells.
    Notification(Notification),
    /// Here something is missing, because it came in faster than it was read.
    Gap {
        /// How many notifications.
        missed: u64,
    },
    /// The last item: the server has ended it in order, or why it ended otherwise.
    Ended(Result<(), McpError>),
}

impl Listen {
    /// How many notifications wait to be read: 256.
    pub const ROOM: usize = 256;

    /// How much text they may be: 1 MiB, beside one that may be larger.
    pub const BYTES: usize = 1 << 20;

    pub(crate) fn new(call: CallFuture, backlog: Backlog, session: Session, token: String) -> Self {
        Self {
            id: call.id(),
            call: Some(call),
            end: None,
            backlog,
            session,
            token,
        }
    }

    /// The id of the request, which is the `subscriptionId` of what is told under it. It stays the
    /// same across redials, although the server sees others. `None` if the request was not taken.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// The next item; `None` after [`Ended`](Listened::Ended). Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Listened> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Listen {
    type Item = Listened;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Listened>> {
        let this = &mut *self;
        // Asked first: what was told before the end is there once the end is.
        if let Some(call) = &mut this.call
            && let Poll::Ready(outcome) = Pin::new(call).poll(cx)
        {
            this.call = None;
            this.end = Some(outcome.map(drop).map_err(McpError::Call));
        }
        match this.backlog.poll(cx) {
            Poll::Pending if this.call.is_none() => Poll::Ready(this.end.take().map(Listened::Ended)),
            heard => heard.map(Some),
        }
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        self.session.lock().replays.forget(&self.token);
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What was told under one listen and is not read yet. Filled by the connection, emptied by the
/// handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    told: VecDeque<Told>,
    bytes: usize,
    missed: u64,
    reader: Option<Waker>,
}

#[derive(Debug)]
enum Told {
    Active(Filter),
    Said(Notification),
}

impl Told {
    fn bytes(&self) -> usize {
        match self {
            Self::Active(_) => 0,
            Self::Said(said) => said.text().len(),
        }
    }
}

impl Backlog {
    /// The server has agreed to tell of this.
    pub(crate) fn is_active(&self, filter: Filter) {
        self.put(Told::Active(filter));
    }

    /// The server tells. What is no notification is not for the reader.
    pub(crate) fn tell(&self, text: &[u8]) {
        if let Ok(notification) = Notification::parse(Bytes::copy_from_slice(text)) {
            self.put(Told::Said(notification));
        }
    }

    fn put(&self, told: Told) {
        let mut waiting = self.lock();
        waiting.bytes += told.bytes();
        waiting.told.push_back(told);
        while waiting.told.len() > Listen::ROOM || (waiting.bytes > Listen::BYTES && waiting.told.len() > 1) {
            let Some(oldest) = waiting.told.pop_front() else { break };
            waiting.bytes -= oldest.bytes();
            waiting.missed += 1;
        }
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Listened> {
        let mut waiting = self.lock();
        // What is missing was before all that is left.
        let missed = std::mem::take(&mut waiting.missed);
        if missed > 0 {
            return Poll::Ready(Listened::Gap { missed });
        }
        if let Some(told) = waiting.told.pop_front() {
            waiting.bytes -= told.bytes();
            return Poll::Ready(match told {
                Told::Active(filter) => Listened::Active(filter),
                Told::Said(said) => Listened::Notification(said),
            });
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
