//! The peer: a thread for each connection, in a process of its own.
//!
//! It has to be faster than every client under test, hence the framing by hand. It answers all it
//! has read and writes the answers at once; it always reads, however much it still has to write, so
//! that no client can lock up against it. For a while after the last byte it asks the socket again
//! and again instead of sleeping, which keeps the wake-up of its core out of the figures for one
//! message at a time; unless it is told to sleep as servers do.

mod call;
mod connection;
pub(crate) mod frame;
mod upgrade;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use nix::sys::{prctl, signal::Signal};

use crate::{BoxError, args::Serving, pin};

use self::connection::Connection;

/// What the peer does with a message, chosen by the path of the upgrade request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// `/echo`: sends every message back.
    Echo,
    /// `/rpc`: answers a JSON-RPC call with its only parameter.
    Rpc,
    /// `/mcp`: answers `tools/call` with the tool's only argument, as text.
    Mcp,
}

/// Serves until the parent ends, having written its port to standard output.
pub(crate) fn serve(serving: Serving) -> Result<(), BoxError> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if let Some(core) = serving.core {
        pin::this_thread(&[core])?;
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let connection = Connection::new(stream?, serving.sleeps);
        thread::spawn(|| {
            if let Err(error) = connection.serve() {
                eprintln!("peer: {error}");
            }
        });
    }
    Ok(())
}
