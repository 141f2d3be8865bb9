//! The test kit of tower-ws: what goes wrong between a WebSocket client and its server, on command.
//!
//! - [`Server`]: a WebSocket server that plays a [`Script`], from a plain echo to a handshake that
//!   never ends, illegal close codes and a flood of pings; with a ledger of what reached it.
//! - [`Proxy`]: a TCP proxy that commits a [`Fault`]: delays, throttles, stalls, swallows, cuts at
//!   a byte.
//! - [`Authority`]: certificates that are good, expired, self-signed or for somebody else.
//! - [`MustBeReady`]: a service that panics on a `call` without `poll_ready`.
//! - [`trace_init`]: shows the traces of a failing test.
//! - [`ManualConnection`], [`ManualSocket`], [`ManualDialer`]: what a layer stands on, driven by
//!   hand.
//! - [`expect`]: the event that must come next, with a limit of time.
//! - [`conformance`]: the laws of a connection as tests that any layer or transport can be put
//!   through.
//!
//! All but the last three know nothing of the client under test; any will do.
//!
//! # Example
//!
//! A server that is cut in the middle of a reply, by a middlebox:
//!
//! ```
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//! use tower_ws_test_kit::{Cut, Direction, Fault, Proxy, Script, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = Server::start(Script::Echo).await?;
//! let proxy = Proxy::start(server.addr()).await?;
//! proxy.set(Fault::CutAt { byte: 12, direction: Direction::ToClient, how: Cut::Fin });
//!
//! let mut client = TcpStream::connect(proxy.addr()).await?;
//! client
//!     .write_all(b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
//!     .await?;
//! let mut reply = String::new();
//! client.read_to_string(&mut reply).await?;
//!
//! assert_eq!(reply, "HTTP/1.1 101");
//! assert_eq!(server.requests()[0].path, "/chat");
//! assert_eq!(proxy.bytes(Direction::ToClient), 12);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! - Faults below TCP (loss, reordering, blackholed SYNs) need the kernel, or a simulation.
//! - The servers and the proxy run on real sockets and real time: not under a paused clock.

pub mod conformance;
pub mod expect;

mod cut;
mod door;
mod exhaust;
mod manual;
mod postgres;
mod proxy;
mod ready;
mod server;
mod tls;
mod trace;

pub use tower_ws_transport::Message;

pub use self::cut::Cut;
pub use self::exhaust::sequences;
pub use self::manual::{ManualConnection, ManualDial, ManualDialer, ManualSocket};
pub use self::postgres::Postgres;
pub use self::proxy::{Direction, Fault, Proxy};
pub use self::ready::MustBeReady;
pub use self::server::{Received, Recorded, Script, Server};
pub use self::tls::Authority;
pub use self::trace::trace_init;
