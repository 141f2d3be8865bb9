//! A TCP proxy that breaks what passes through. See [`Proxy`].

mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::pump::{Lane, pump};
use crate::cut::Cut;
use crate::door::Door;

/// A TCP proxy on a loopback port that delays, throttles, stalls, swallows and cuts what passes
/// through it.
///
/// Faults act on bytes and know nothing of WebSocket or TLS. They can be switched at any time, and
/// act at once on connections that live already, too. Each connection buffers up to a mebibyte in
/// each direction and then stops reading.
///
/// # What it does not do
///
/// It loses, reorders and corrupts nothing below TCP, and does not alter bytes.
///
/// # Cancellation
///
/// Dropping the proxy closes its port at once and its connections as soon as the runtime gets to
/// it.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_ws_test_kit::{Cut, Direction, Fault, Proxy, Script, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::start(Script::Echo).await?;
/// let proxy = Proxy::start(server.addr()).await?;
/// // Half-open: the connection stays, nothing comes through.
/// proxy.set(Fault::Stall);
/// // Late answers, undelayed requests.
/// proxy.set(Fault::None);
/// proxy.set_one_way(Direction::ToClient, Fault::Delay(Duration::from_millis(50)));
/// // RST in the middle of a reply.
/// proxy.set(Fault::CutAt { byte: 100, direction: Direction::ToClient, how: Cut::Rst });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    door: Arc<Door>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What a [`Proxy`] does to the bytes that pass through it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Passes everything on at once.
    #[default]
    None,
    /// Bytes take this long, in each direction; the rate stays the same.
    Delay(Duration),
    /// Passes on so many bytes per second, for each connection and direction.
    Throttle {
        /// The rate; zero counts as one.
        bytes_per_second: u64,
    },
    /// Holds all bytes, and the ends of connections, until the fault is lifted: a peer that is
    /// half-open, or a network that comes back.
    Stall,
    /// Swallows all bytes, and the ends of connections. A connection that lost something stays
    /// silent for ever, even when the fault is lifted, as a stream with a hole in it would be no
    /// fault of the network.
    Blackhole,
    /// Ends a connection, on both sides, once this many of its bytes have gone this way. Bytes of
    /// the other direction and those before the cut pass as they come.
    CutAt {
        /// How many bytes pass, counted from the beginning of the connection; with 0 it ends as
        /// soon as it is accepted.
        byte: u64,
        /// Which bytes are counted.
        direction: Direction,
        /// How it ends.
        how: Cut,
    },
}

/// A direction through a [`Proxy`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

#[derive(Debug)]
struct Shared {
    to_server: Way,
    to_client: Way,
    cuts: watch::Sender<Cut>,
    counts: watch::Sender<Counts>,
}

/// One direction, for all connections.
#[derive(Debug)]
struct Way {
    fault: watch::Sender<Fault>,
    bytes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Counts {
    dials: usize,
    live: usize,
}

// === impl Proxy ===

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and connects each connection with `upstream`.
    ///
    /// A client whose connection to `upstream` fails is reset.
    ///
    /// # Errors
    ///
    /// If the port cannot be opened. Whether `upstream` can be reached is seen with each
    /// connection.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let door = Arc::new(Door::open()?);
        let shared = Arc::new(Shared {
            to_server: Way::new(),
            to_client: Way::new(),
            cuts: watch::Sender::new(Cut::Fin),
            counts: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(door.clone(), shared.clone(), upstream));
        Ok(Self {
            door,
            shared,
            accepting,
        })
    }

    /// The address that the proxy listens on, also while it refuses.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// `ws://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/", self.addr())
    }

    /// Sets the fault for both directions of all connections, present and future.
    pub fn set(&self, fault: Fault) {
        self.set_one_way(Direction::ToServer, fault);
        self.set_one_way(Direction::ToClient, fault);
    }

    /// Sets the fault for one direction and leaves the other as it is: a one-way partition, lost
    /// answers.
    ///
    /// [`Fault::CutAt`] needs the direction that it counts.
    pub fn set_one_way(&self, direction: Direction, fault: Fault) {
        self.shared.way(direction).fault.send_replace(fault);
    }

    /// Ends all live connections at once, on both sides; what the proxy holds of them is lost.
    pub fn cut_now(&self, how: Cut) {
        self.shared.cuts.send_replace(how);
    }

    /// Stops listening: connections are refused from now on. Those that live go on.
    pub fn refuse(&self) {
        self.door.refuse();
    }

    /// Listens again, on the same port. Does nothing if the proxy is listening.
    ///
    /// # Errors
    ///
    /// If the port was lost to somebody else meanwhile; the proxy holds on to it, so this is not to
    /// be expected.
    pub fn listen(&self) -> io::Result<()> {
        self.door.listen()
    }

    /// TCP connections accepted so far.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.shared.counts.borrow().dials
    }

    /// Connections that are open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.counts.borrow().live
    }

    /// Bytes passed on so far, over all connections.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.way(direction).bytes.load(Ordering::Relaxed)
    }

    /// Waits until `count` TCP connections have been accepted, in total. Has no deadline.
    pub async fn wait_dials(&self, count: usize) {
        self.wait(|counts| counts.dials >= count).await;
    }

    /// Waits until exactly `count` connections are live. Has no deadline.
    pub async fn wait_live(&self, count: usize) {
        self.wait(|counts| counts.live == count).await;
    }

    async fn wait(&self, reached: impl FnMut(&Counts) -> bool) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.shared.counts.subscribe().wait_for(reached).await.map(drop);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.door.refuse();
        // The connections are tasks in a set that goes with this one.
        self.accepting.abort();
    }
}

async fn accept(door: Arc<Door>, shared: Arc<Shared>, upstream: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let client = tokio::select! {
            client = door.accept() => client,
            Some(_) = connections.join_next() => continue,
        };
        // Before it is counted: whoever sees it counted may cut it.
        let cuts = shared.cuts.subscribe();
        shared.counts.send_modify(|counts| {
            counts.dials += 1;
            counts.live += 1;
        });
        connections.spawn(serve(client, upstream, shared.clone(), cuts));
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, shared: Arc<Shared>, mut cuts: watch::Receiver<Cut>) {
    // A cut that comes meanwhile waits: it concerns both sides.
    match TcpStream::connect(upstream).await {
        Ok(mut server) => {
            // Delays are for the faults to make.
            let _ = server.set_nodelay(true);
            let end = tokio::select! {
                end = carry(&mut client, &mut server, &shared) => end,
                // The sender of the cuts lives as long as `shared`.
                _ = cuts.changed() => Err(*cuts.borrow()),
            };
            shared.left();
            if let Err(how) = end {
                tokio::join!(how.apply(client), how.apply(server));
            }
        }
        Err(_) => {
            shared.left();
            Cut::Rst.apply(client).await;
        }
    }
}

/// Carries bytes both ways until both sides have ended, or until a cut.
async fn carry(client: &mut TcpStream, server: &mut TcpStream, shared: &Shared) -> Result<(), Cut> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let lane = |direction| Lane {
        direction,
        faults: shared.way(direction).fault.subscribe(),
        bytes: shared.way(direction).bytes.clone(),
    };
    tokio::try_join!(
        pump(from_client, to_server, lane(Direction::ToServer)),
        pump(from_server, to_client, lane(Direction::ToClient)),
    )?;
    Ok(())
}

// === impl Shared ===

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn left(&self) {
        self.counts.send_modify(|counts| counts.live -= 1);
    }
}

// === impl Way ===

impl Way {
    fn new() -> Self {
        Self {
            fault: watch::Sender::default(),
            bytes: Arc::default(),
        }
    }
}
