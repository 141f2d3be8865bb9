//! A WebSocket server that misbehaves on command. See [`Server`].

mod connection;
mod script;
mod session;
mod upgrade;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower_ws_transport::Message;

use self::connection::{Command, Leash, Link};
pub use self::script::Script;
use crate::cut::Cut;
use crate::door::Door;

/// A WebSocket server on a loopback port that does what its [`Script`] says, also against the
/// protocol.
///
/// It keeps a ledger of what reached it: connections, upgrade requests and data messages, each with
/// the number of its connection, counted from 1. The ledger holds everything until the server is
/// dropped.
///
/// # What can change while it runs
///
/// [`play`](Self::play) changes the script for the connections accepted from then on. Connections
/// that live already are reached with [`push`](Self::push), [`close`](Self::close),
/// [`cut`](Self::cut), [`freeze`](Self::freeze) and [`thaw`](Self::thaw); new ones are kept away
/// with [`refuse`](Self::refuse) until [`listen`](Self::listen).
///
/// # Cancellation
///
/// Dropping the server closes its port at once and its connections as soon as the runtime gets to
/// it. None of the `wait_*` functions has a deadline: bound them with [`tokio::time::timeout`].
///
/// # Why does it need real time?
///
/// It uses real sockets. Under a paused clock every timer fires while the kernel is still moving
/// bytes.
///
/// # Example
///
/// ```
/// use tower_ws_test_kit::{Script, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// // Refused once, then served.
/// let server = Server::start(Script::Echo).await?;
/// server.play_each([
///     Script::status(503, &[("Retry-After", "1")]),
///     Script::json_rpc(),
/// ]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    door: Arc<Door>,
    state: Arc<watch::Sender<State>>,
    frozen: watch::Sender<bool>,
    cuts: watch::Sender<Cut>,
    accepting: JoinHandle<()>,
    tls: bool,
}

/// An upgrade request that reached a [`Server`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// The number of the connection, from 1.
    pub connection: usize,
    /// The method; `GET` from any client that follows the protocol.
    pub method: Method,
    /// The request target: path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// When the end of the request came.
    pub at: Instant,
}

/// A data message that reached a [`Server`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The number of the connection, from 1.
    pub connection: usize,
    /// The text or binary message.
    pub message: Message,
    /// When it came.
    pub at: Instant,
}

/// The script and the ledger, under one lock.
#[derive(Debug, Default)]
struct State {
    scripts: VecDeque<Script>,
    dials: usize,
    requests: Vec<Recorded>,
    received: Vec<Received>,
    live: BTreeMap<usize, mpsc::UnboundedSender<Command>>,
}

// === impl Server ===

impl Server {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If the port cannot be opened.
    pub async fn start(script: Script) -> io::Result<Self> {
        Self::open(script, None)
    }

    /// Listens on a free port of 127.0.0.1, with TLS. See [`Authority`](crate::Authority) for
    /// configurations.
    ///
    /// # Errors
    ///
    /// If the port cannot be opened.
    pub async fn start_tls(script: Script, config: impl Into<Arc<ServerConfig>>) -> io::Result<Self> {
        Self::open(script, Some(TlsAcceptor::from(config.into())))
    }

    /// `ws://127.0.0.1:PORT/`, or `wss://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.addr())
    }

    /// The address that the server listens on, also while it refuses.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// Plays this script on the connections accepted from now on.
    pub fn play(&self, script: Script) {
        self.play_each([script]);
    }

    /// Plays these scripts, one for each connection accepted from now on; the last one stays.
    ///
    /// An empty list changes nothing.
    pub fn play_each(&self, scripts: impl IntoIterator<Item = Script>) {
        let scripts: VecDeque<_> = scripts.into_iter().collect();
        if !scripts.is_empty() {
            self.state.send_modify(|state| state.scripts = scripts);
        }
    }

    /// TCP connections accepted so far.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.state.borrow().dials
    }

    /// TCP connections that are open: neither ended by the server nor known to be ended by the
    /// peer.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.borrow().live.len()
    }

    /// The upgrade requests so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.borrow().requests.clone()
    }

    /// The data messages so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state.borrow().received.clone()
    }

    /// Waits until `count` TCP connections have been accepted, in total.
    pub async fn wait_dials(&self, count: usize) {
        self.wait(|state| state.dials >= count).await;
    }

    /// Waits until `count` upgrade requests have come, in total.
    pub async fn wait_requests(&self, count: usize) {
        self.wait(|state| state.requests.len() >= count).await;
    }

    /// Waits until `count` data messages have come, in total.
    pub async fn wait_received(&self, count: usize) {
        self.wait(|state| state.received.len() >= count).await;
    }

    /// Waits until exactly `count` connections are live.
    pub async fn wait_live(&self, count: usize) {
        self.wait(|state| state.live.len() == count).await;
    }

    /// Sends a message (or a single control frame) on all live connections, whatever their script.
    ///
    /// Goes out once the connection is upgraded; a connection that never upgrades drops it. What
    /// was pushed goes before a later [`close`](Self::close) or [`cut`](Self::cut).
    pub fn push(&self, message: Message) {
        for live in self.state.borrow().live.values() {
            // The connection may be ending at this moment.
            let _ = live.send(Command::Push(message.clone()));
        }
    }

    /// Sends a close frame on all live connections, waits up to a second for the answer and ends
    /// with FIN.
    ///
    /// The code goes out as it stands, also an illegal one. Connections that are not upgraded only
    /// end.
    pub fn close(&self, code: u16, reason: &str) {
        for live in self.state.borrow().live.values() {
            // The connection may be ending at this moment.
            let _ = live.send(Command::Close(code, reason.to_owned()));
        }
    }

    /// Ends all live connections at once without a close frame (over TLS: without `close_notify`),
    /// also frozen ones.
    pub fn cut(&self, cut: Cut) {
        self.cuts.send_replace(cut);
    }

    /// Stops reading, writing and the scripts' timers on all connections, also on new ones, as if
    /// the process were stopped: the kernel still accepts connections and acknowledges what fits
    /// into its buffers.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Ends [`freeze`](Self::freeze): what has piled up is read and answered.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Stops listening: connections are refused from now on. Those that live go on.
    pub fn refuse(&self) {
        self.door.refuse();
    }

    /// Listens again, on the same port. Does nothing if the server is listening.
    ///
    /// # Errors
    ///
    /// If the port was lost to somebody else meanwhile; the server holds on to it, so this is not
    /// to be expected.
    pub fn listen(&self) -> io::Result<()> {
        self.door.listen()
    }

    fn open(script: Script, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let door = Arc::new(Door::open()?);
        let state = Arc::new(watch::Sender::new(State {
            scripts: [script].into(),
            ..State::default()
        }));
        let frozen = watch::Sender::new(false);
        let cuts = watch::Sender::new(Cut::Fin);
        let with_tls = tls.is_some();
        let (shared, leash) = (state.clone(), (frozen.subscribe(), cuts.subscribe()));
        let accepting = tokio::spawn(accept(door.clone(), tls, shared, leash.0, leash.1));
        Ok(Self {
            door,
            state,
            frozen,
            cuts,
            accepting,
            tls: with_tls,
        })
    }

    async fn wait(&self, reached: impl FnMut(&State) -> bool) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.state.subscribe().wait_for(reached).await.map(drop);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.door.refuse();
        // The connections are tasks in a set that goes with this one.
        self.accepting.abort();
    }
}

async fn accept(
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
    state: Arc<watch::Sender<State>>,
    frozen: watch::Receiver<bool>,
    mut cuts: watch::Receiver<Cut>,
) {
    let mut connections = JoinSet::new();
    loop {
        let tcp = tokio::select! {
            tcp = door.accept() => tcp,
            Some(_) = connections.join_next() => continue,
        };
        // A cut concerns the connections accepted before it, and whoever sees this one counted may
        // cut it.
        cuts.mark_unchanged();
        let leash = Leash {
            frozen: frozen.clone(),
            cuts: cuts.clone(),
        };
        let (push, commands) = mpsc::unbounded_channel();
        let (mut number, mut script) = (0, Script::Echo);
        state.send_modify(|state| {
            state.dials += 1;
            number = state.dials;
            state.live.insert(number, push);
            script = state.next_script();
        });
        let link = Link {
            number,
            state: state.clone(),
            commands,
        };
        connections.spawn(connection::serve(tcp, tls.clone(), script, link, leash));
    }
}

// === impl State ===

impl State {
    fn next_script(&mut self) -> Script {
        let next = if self.scripts.len() > 1 {
            self.scripts.pop_front()
        } else {
            self.scripts.front().cloned()
        };
        // Never empty: it starts with a script and keeps its last one.
        next.unwrap_or(Script::Echo)
    }
}
