//! The laws of a connection, kept over a child process.
//!
//! The child is this program once more: it relays between its stdio and a port on which the suite's
//! far end is. It ends when either side does, so that nothing outlives a connection.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

#[path = "support/relay.rs"]
mod relay;
mod support;

use std::net::Ipv4Addr;

use support::far::FarLines;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LinesCodec};
use tower::{Layer, ServiceExt};
use tower_ws_test_kit::conformance::{self, Harness};
use tower_ws_transport::{
    lines::{LinesConnection, LinesLayer},
    process::{Pipes, Process},
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(port) = relay::port() {
        relay::run(port);
    }
    println!("lines over a child process");
    conformance::transport(OverChild).await;
}

struct OverChild;

impl Harness for OverChild {
    type Message = String;
    type Connection = LinesConnection<Pipes>;
    type Peer = FarLines<TcpStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let child = Process::new(move || relay::command(port));
        let connection = LinesLayer::new().layer(child).oneshot(()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (connection, FarLines(Some(Framed::new(far, LinesCodec::new()))))
    }
}
