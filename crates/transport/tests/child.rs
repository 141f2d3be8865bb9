//! The laws of a connection, kept over a child process.
//!
//! The child is this program once more: it relays between its stdio and a port on which the suite's far end is. It ends
//! when either side does, so that nothing outlives a connection.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream as Blocking},
    process::exit,
    thread,
};

use support::far::FarLines;
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_util::codec::{Framed, LinesCodec};
use tower::{Layer, ServiceExt};
use tower_ws_test::conformance::{self, Harness};
use tower_ws_transport::{
    lines::{LinesConnection, LinesLayer},
    process::{Pipes, Process},
};

/// The port of the far end; only a child has it.
const PORT: &str = "TOWER_WS_TEST_RELAY_PORT";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Ok(port) = env::var(PORT) {
        relay(port.parse().unwrap());
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
        let port = listener.local_addr().unwrap().port().to_string();
        let child = Process::new(move || {
            let mut command = Command::new(env::current_exe().unwrap());
            command.env(PORT, &port);
            command
        });
        let connection = LinesLayer::new().layer(child).oneshot(()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (connection, FarLines(Some(Framed::new(far, LinesCodec::new()))))
    }
}

/// Copies in both directions, in a thread each. The end of stdin is passed on; the end of the socket ends the process.
fn relay(port: u16) -> ! {
    let mut near = Blocking::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    near.set_nodelay(true).unwrap();
    let mut far = near.try_clone().unwrap();
    thread::spawn(move || {
        let copied = copy(&mut io::stdin(), &mut far);
        if copied.and_then(|()| far.shutdown(Shutdown::Write)).is_err() {
            exit(0);
        }
    });
    // Whatever breaks it, it is the end.
    let _ = copy(&mut near, &mut io::stdout());
    exit(0)
}

/// Not `io::copy`: between a socket and a pipe that is `splice`, which locks the pipe while it waits for the socket, so that
/// the suite would hang in a read that is not supposed to block.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).and_then(|()| to.flush())?,
        }
    }
}
