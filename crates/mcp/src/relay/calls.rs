//! The library's requests that are under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture};
use futures_util::{
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use serde_json::value::RawValue;
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
    handles: HashMap<String, AbortHandle>,
    listens: Listens,
}

/// The library's id of each listen, by the stack's.
#[derive(Clone, Default)]
struct Listens(Arc<Mutex<HashMap<u64, Box<RawValue>>>>);

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn begin(&mut self, mut client: Client, id: Box<RawValue>, request: Request) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(id.get().to_owned(), handle);
        let kind = Kind::of(request.method());
        let listens = (kind == Kind::Listen).then(|| self.listens.clone());
        let call: BoxFuture<'static, Ended> = Box::pin(async move {
            let outcome = match client.ready().await {
                Ok(client) => {
                    let call = client.call(request);
                    // Dropped with the call, however that ends.
                    let _known = listens
                        .as_ref()
                        .zip(call.id())
                        .map(|(listens, own)| listens.know(own, &id));
                    call.await
                }
                Err(error) => Err(error),
            };
            Ended { id, outcome, kind }
        });
        self.running.push(Abortable::new(call, registration));
    }

    /// The library waits no longer: dropping the call tells the server, under the id that it knows.
    pub(super) fn give_up(&mut self, id: &RawValue) {
        if let Some(handle) = self.handles.remove(id.get()) {
            handle.abort();
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
