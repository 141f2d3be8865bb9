//! Dials: opens a connection, drops it, and opens the next. A reply is a dial.

use std::convert::Infallible;

use tokio::net::TcpStream;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::connector::connector;
use tower_ws::transport::TransportLayer;

use crate::BoxError;
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::tuned;

/// The least: a request and its answer by hand.
pub(crate) const BY_HAND: Kind = Kind {
    name: "dial-by-hand",
    threads: 1,
    run: |target, meter| Box::pin(by_hand(target, meter)),
};

/// `tokio_tungstenite::client_async` over a TCP stream.
pub(crate) const TUNGSTENITE: Kind = Kind {
    name: "dial-tt",
    threads: 1,
    run: |target, meter| Box::pin(tungstenite(target, meter)),
};

/// The transport alone, made once.
pub(crate) const TRANSPORT: Kind = Kind {
    name: "dial-transport",
    threads: 1,
    run: |target, meter| Box::pin(transport(target, meter)),
};

/// `tower_ws::connect`: a whole stack is made, and goes.
pub(crate) const CONNECT: Kind = Kind {
    name: "dial-connect",
    threads: 1,
    run: |target, meter| Box::pin(connect(target, meter)),
};

fn url(target: &Target) -> String {
    format!("ws://{}/rpc", target.address)
}

async fn by_hand(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    loop {
        tuned::upgraded(&target, "/rpc").await?;
        meter.add(1);
    }
}

async fn tungstenite(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    loop {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        tokio_tungstenite::client_async(url(&target), stream).await?;
        meter.add(1);
    }
}

async fn transport(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let transport = ServiceBuilder::new().layer(TransportLayer::new()).service(connector());
    loop {
        let request = http::Request::get(url(&target)).body(())?;
        transport.clone().oneshot(request).await?;
        meter.add(1);
    }
}

async fn connect(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    loop {
        tower_ws::connect(url(&target)).await?;
        meter.add(1);
    }
}
