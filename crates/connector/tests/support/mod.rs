//! What the suites share.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each suite is a crate of its own and uses a part"
)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Request;
use tokio::net::TcpSocket;

/// Far more than anything here takes.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("in time")
}

pub fn get(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

/// An address on which nobody listens, and nobody will as long as the socket lives.
pub fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// All that could end up in a log.
pub fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text += &format!(" / {error}");
        next = error.source();
    }
    text
}
