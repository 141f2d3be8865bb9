//! The library's requests that are under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{Stream, future::BoxFuture};
use futures_util::{
    FutureExt,
    future::{AbortHandle, Abortable, Aborted, Fuse},
    stream::FuturesUnordered,
};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tower::{Service, ServiceExt};
use tower_ws_client::{CallError, Client, Reply, Request};

/// How a request has ended, and the library's id.
pub(super) struct Ended {
    pub(super) id: Box<RawValue>,
    pub(super) outcome: Result<Reply, CallError>,
    pub(super) kind: Kind,
}

/// The requests whose answers are looked into. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Listen,
    Tools,
    Other,
}

impl Kind {
    fn of(method: &str) -> Self {
        match method {
            "subscriptions/listen" => Self::Listen,
            "tools/list" => Self::Tools,
            _ => Self::Other,
        }
    }
}

/// They begin in the order in which the library made them, and are no tasks: whoever looks for the
/// next that has ended drives them all.
#[derive(Default)]
pub(super) struct Calls {
    running: FuturesUnordered<Abortable<BoxFuture<'static, Ended>>>,
    /// By the library's id, to be given up when the library does.
    handles: HashMap<String, Handle>,
    listens: Listens,
}

/// What ends a request that is under way before it is answered.
struct Handle {
    /// Without a word.
    give_up: AbortHandle,
    /// As one whose time, which is sent, is up.
    time_is_up: oneshot::Sender<Duration>,
}

/// The library's id of each listen, by the stack's.
#[derive(Clone, Default)]
struct Listens(Arc<Mutex<HashMap<u64, Box<RawValue>>>>);

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn begin(&mut self, client: Client, id: Box<RawValue>, request: Request) {
        let (give_up, registration) = AbortHandle::new_pair();
        let (time_is_up, is_up) = oneshot::channel();
        let handle = Handle { give_up, time_is_up };
        self.handles.insert(id.get().to_owned(), handle);
        let kind = Kind::of(request.method());
        let listens = (kind == Kind::Listen).then(|| self.listens.clone());
        let call: BoxFuture<'static, Ended> = Box::pin(async move {
            let outcome = call(client, &id, request, listens, is_up.fuse()).await;
            Ended { id, outcome, kind }
        });
        self.running.push(Abortable::new(call, registration));
    }

    /// The library waits no longer: dropping the call tells the server, under the id that it knows.
    pub(super) fn give_up(&mut self, id: &RawValue) {
        if let Some(handle) = self.handles.remove(id.get()) {
            handle.give_up.abort();
        }
    }

    /// Its time is up, by a clock of the library's: it ends as one that [timed out](CallError::TimedOut),
    /// unless it has been answered.
    pub(super) fn time_is_up(&mut self, id: &RawValue, limit: Duration) {
        if let Some(handle) = self.handles.remove(id.get()) {
            // It may have ended at this moment.
            let _ = handle.time_is_up.send(limit);
        }
    }

    /// The library's id of the listen that has this id in the stack.
    pub(super) fn listen(&self, own: u64) -> Option<Box<RawValue>> {
        self.listens.lock().get(&own).cloned()
    }

    /// Drives all, and gives the next that has ended; `None` if there is none under way.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        loop {
            match std::pin::Pin::new(&mut self.running).poll_next(cx) {
                Poll::Ready(Some(Ok(ended))) => {
                    self.handles.remove(ended.id.get());
                    return Poll::Ready(Some(ended));
                }
                // One that was given up has no answer.
                Poll::Ready(Some(Err(Aborted))) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Makes a request, until it is answered or its time is up. Another request under the same id, which
/// is against the rules, takes away who could say so: then it has no limit.
async fn call(
    mut client: Client,
    id: &RawValue,
    request: Request,
    listens: Option<Listens>,
    mut is_up: Fuse<oneshot::Receiver<Duration>>,
) -> Result<Reply, CallError> {
    let client = tokio::select! {
        biased;
        client = client.ready() => client?,
        Ok(limit) = &mut is_up => {
            return Err(CallError::TimedOut { limit, sent: false, cause: None });
        }
    };
    let mut call = client.call(request);
    // Dropped with the call, however that ends.
    let _known = listens
        .as_ref()
        .zip(call.id())
        .map(|(listens, own)| listens.know(own, id));
    tokio::select! {
        biased;
        outcome = &mut call => outcome,
        Ok(limit) = &mut is_up => Err(call.time_is_up(limit)),
    }
}

impl Listens {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Box<RawValue>>> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self, own: u64, library: &RawValue) -> Known {
        self.lock().insert(own, library.to_owned());
        Known(self.clone(), own)
    }
}

/// Forgets a listen when it is dropped.
struct Known(Listens, u64);

impl Drop for Known {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}
