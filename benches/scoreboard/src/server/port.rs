//! A port of loopback that is kept while nobody listens, so that a client is refused and no other program comes by it.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 1_024;

/// A port.
#[derive(Debug)]
pub(crate) enum Port {
    /// Dials are refused.
    Held(TcpSocket),
    /// Dials are accepted.
    Open(TcpListener),
}

impl Port {
    /// With a small receive buffer if the server is to read slowly: what the kernel has taken on behalf of a slow
    /// reader is not read.
    pub(super) fn hold(address: SocketAddr, slow: bool) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Before it is bound only if it was this server's before: else a free port could be one that another holds.
        socket.set_reuseaddr(address.port() != 0)?;
        if slow {
            socket.set_recv_buffer_size(32 << 10)?;
        }
        socket.bind(address)?;
        socket.set_reuseaddr(true)?;
        Ok(Self::Held(socket))
    }

    pub(super) fn open(self) -> io::Result<Self> {
        match self {
            Self::Held(socket) => Ok(Self::Open(socket.listen(BACKLOG)?)),
            open => Ok(open),
        }
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Held(socket) => socket.local_addr(),
            Self::Open(listener) => listener.local_addr(),
        }
    }

    /// Never, while nobody listens.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Held(_) => std::future::pending().await,
            Self::Open(listener) => Ok(listener.accept().await?.0),
        }
    }
}
