//! A network in memory: a service that dials by script, and the far ends of what it dialled.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_ws_core::{BoxError, Close, Down, DropReason, Event, Failure, FailureKind, Lift, Outgoing, Up};
use tower_ws_reconnect::{Policy, Reconnect, ReconnectConnection, ReconnectError, ReconnectLayer};

pub(crate) type Link = Lift<Pipe, String>;
pub(crate) type Session<P> = ReconnectConnection<Dial, (), P>;

/// What the network does with one dial.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Accept,
    /// Accepts, and after so long ends the connection: in this way, or without a word.
    Drop(Duration, Option<Failure>),
    Refuse(Failure),
    /// Refuses, but takes its time.
    Stall(Duration, Failure),
    Hang,
}

#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<State>>);

struct State {
    script: Box<dyn FnMut(usize) -> Act + Send>,
    dials: Vec<Instant>,
    links: Vec<Weak<Mutex<Far>>>,
    received: Vec<String>,
}

impl Net {
    /// Dials are numbered from 1.
    pub(crate) fn new(script: impl FnMut(usize) -> Act + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State {
            script: Box::new(script),
            dials: Vec::new(),
            links: Vec::new(),
            received: Vec::new(),
        })))
    }

    pub(crate) fn accepting() -> Self {
        Self::new(|_| Act::Accept)
    }

    pub(crate) fn service(&self) -> Dial {
        Dial {
            net: self.clone(),
            ready: false,
        }
    }

    pub(crate) fn layered<P: Policy + Clone>(&self, layer: &ReconnectLayer<P>) -> Reconnect<Dial, P> {
        layer.layer(self.service())
    }

    pub(crate) async fn session<P: Policy + Clone>(
        &self,
        layer: ReconnectLayer<P>,
    ) -> Result<Session<P>, ReconnectError> {
        self.layered(&layer).ready().await?.call(()).await
    }

    pub(crate) fn dials(&self) -> Vec<Instant> {
        self.0.lock().unwrap().dials.clone()
    }

    pub(crate) fn received(&self) -> Vec<String> {
        self.0.lock().unwrap().received.clone()
    }

    /// The far end of the connection that was dialled last.
    pub(crate) fn peer(&self) -> Peer {
        let state = self.0.lock().unwrap();
        Peer(state.links.last().unwrap().upgrade().unwrap())
    }

    /// How many connections exist.
    pub(crate) fn alive(&self) -> usize {
        let state = self.0.lock().unwrap();
        state.links.iter().filter(|link| link.strong_count() > 0).count()
    }
}

/// Panics when it is called without being ready. A clone is not ready.
pub(crate) struct Dial {
    net: Net,
    ready: bool,
}

impl Clone for Dial {
    fn clone(&self) -> Self {
        Self {
            net: self.net.clone(),
            ready: false,
        }
    }
}

impl Service<()> for Dial {
    type Response = Link;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let net = self.net.clone();
        let act = {
            let mut state = net.0.lock().unwrap();
            state.dials.push(Instant::now());
            let dials = state.dials.len();
            (state.script)(dials)
        };
        Box::pin(async move {
            match act {
                Act::Accept => Ok(Lift::new(Pipe::open(net))),
                Act::Drop(after, cause) => {
                    let pipe = Pipe::open(net);
                    let far = Arc::downgrade(&pipe.far);
                    tokio::spawn(async move {
                        sleep(after).await;
                        if let Some(far) = far.upgrade() {
                            Peer(far).end(cause);
                        }
                    });
                    Ok(Lift::new(pipe))
                }
                Act::Refuse(failure) => Err(failure.into()),
                Act::Stall(time, failure) => {
                    sleep(time).await;
                    Err(failure.into())
                }
                Act::Hang => pending().await,
            }
        })
    }
}

/// A socket of strings. What is written is received at once, unless the far end has stopped
/// reading.
pub(crate) struct Pipe {
    net: Net,
    far: Arc<Mutex<Far>>,
}

#[derive(Default)]
struct Far {
    inbound: VecDeque<String>,
    /// How many more messages it reads; `None`: all.
    room: Option<usize>,
    end: Option<Option<Failure>>,
    deaf: bool,
    waiting: Vec<Waker>,
}

impl Far {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Pipe {
    fn open(net: Net) -> Self {
        let far = Arc::<Mutex<Far>>::default();
        net.0.lock().unwrap().links.push(Arc::downgrade(&far));
        Self { net, far }
    }
}

impl Stream for Pipe {
    type Item = Result<String, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut far = self.far.lock().unwrap();
        if let Some(message) = far.inbound.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        match far.end.clone() {
            Some(Some(failure)) => Poll::Ready(Some(Err(failure.into()))),
            Some(None) => Poll::Ready(None),
            None => far.wait(cx),
        }
    }
}

impl Sink<String> for Pipe {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut far = self.far.lock().unwrap();
        match (&far.end, far.room) {
            (Some(_), _) => Poll::Ready(Err("broken pipe".into())),
            (None, Some(0)) => far.wait(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn start_send(self: Pin<&mut Self>, message: String) -> Result<(), BoxError> {
        let mut far = self.far.lock().unwrap();
        if far.end.is_some() {
            return Err("broken pipe".into());
        }
        if let Some(room) = &mut far.room {
            *room -= 1;
        }
        self.net.0.lock().unwrap().received.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.far.lock().unwrap().end {
            Some(_) => Poll::Ready(Err("broken pipe".into())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut far = self.far.lock().unwrap();
        if !far.deaf {
            far.end.get_or_insert(None);
            far.wake();
        }
        Poll::Ready(Ok(()))
    }
}

/// The far end of a connection.
pub(crate) struct Peer(Arc<Mutex<Far>>);

impl Peer {
    pub(crate) fn say(&self, message: &str) {
        self.edit(|far| far.inbound.push_back(message.to_owned()));
    }

    pub(crate) fn end(&self, cause: Option<Failure>) {
        self.edit(|far| far.end = Some(cause));
    }

    /// Reads so many more messages, then no more.
    pub(crate) fn reads(&self, messages: usize) {
        self.edit(|far| far.room = Some(messages));
    }

    /// Does not answer when the client closes.
    pub(crate) fn deafen(&self) {
        self.edit(|far| far.deaf = true);
    }

    fn edit(&self, edit: impl FnOnce(&mut Far)) {
        let mut far = self.0.lock().unwrap();
        edit(&mut far);
        far.wake();
    }
}

// === Failures and expectations ===

pub(crate) fn closed(code: u16) -> Failure {
    Failure::closed(Close {
        code,
        reason: String::new(),
    })
}

pub(crate) fn status(status: u16) -> Failure {
    Failure::new(FailureKind::Handshake, "the upgrade was refused").with_status(status)
}

pub(crate) fn refused() -> Failure {
    Failure::of(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
}

pub(crate) async fn up<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Up {
    match session.next().await {
        Some(Event::Up(up)) => up,
        other => panic!("expected Up, got {other:?}"),
    }
}

pub(crate) async fn down<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Down {
    match session.next().await {
        Some(Event::Down(down)) => down,
        other => panic!("expected Down, got {other:?}"),
    }
}

pub(crate) async fn dropped<S: Stream<Item = Event<String>> + Unpin>(
    session: &mut S,
) -> (Outgoing<String>, DropReason) {
    match session.next().await {
        Some(Event::Dropped(item, reason)) => (item, reason),
        other => panic!("expected Dropped, got {other:?}"),
    }
}

/// Polls a future once.
pub(crate) fn is_pending<F: Future + Unpin>(future: F) -> bool {
    future.now_or_never().is_none()
}

pub(crate) fn message(text: &str) -> Outgoing<String> {
    Outgoing::new(text.to_owned())
}

pub(crate) fn ping(text: &str) -> Outgoing<String> {
    message(text).control()
}
