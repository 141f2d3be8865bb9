//! What the suites share.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each suite is a crate of its own and uses a part"
)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

#[cfg(feature = "sockudo")]
pub mod deflating;
pub mod far;
#[cfg(feature = "sockudo")]
pub mod wire;

use std::time::Duration;

use futures_util::StreamExt;
use http::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{Layer, ServiceExt};
use tower_ws_connector::TcpConnector;
use tower_ws_core::{Connection, Down, Event, Failure, FailureKind, Up};
use tower_ws_transport::{
    Framing, Message, TransportLayer, Tungstenite, Upgrade, UpgradeError, UpgradeLayer, WebSocketConnection,
};

pub type Conn<F = Tungstenite> = WebSocketConnection<TokioIo<TcpStream>, F>;

/// What frames, in a test that runs over each.
pub trait AnyFraming: Framing + Clone + Send + Sync + 'static {}

impl<F: Framing + Clone + Send + Sync + 'static> AnyFraming for F {}

/// Makes a test of each function, for each framing. They take the framing to be used.
#[macro_export]
macro_rules! over_each_framing {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod tungstenite {
            $(
                $crate::over_each_framing!(@attributes $(#[$attribute])*
                    async fn $name() { super::$name(tower_ws_transport::Tungstenite).await; });
            )+
        }

        #[cfg(feature = "sockudo")]
        mod sockudo {
            $(
                $crate::over_each_framing!(@attributes $(#[$attribute])*
                    async fn $name() { super::$name(tower_ws_transport::sockudo::Sockudo::new()).await; });
            )+
        }

        // The peers of these tests know no extension and decline: the offer must do no harm.
        #[cfg(feature = "sockudo")]
        mod declined {
            use tower_ws_transport::sockudo::{Deflate, Sockudo};

            $(
                $crate::over_each_framing!(@attributes $(#[$attribute])*
                    async fn $name() { super::$name(Sockudo::new().deflate(Deflate::new())).await; });
            )+
        }
    };
    (@attributes #[$attribute:meta] async fn $name:ident() $body:block) => {
        #[$attribute]
        async fn $name() $body
    };
    (@attributes $test:item) => {
        #[tokio::test]
        $test
    };
}

/// Far more than anything here takes.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("in time")
}

pub fn get(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

pub fn tcp() -> TcpConnector {
    tower_ws_connector::tcp_connector()
}

pub async fn dial<F: AnyFraming>(layer: TransportLayer<F>, url: &str) -> Result<Conn<F>, UpgradeError> {
    bounded(layer.layer(tcp()).oneshot(get(url))).await
}

/// Dials with the defaults, and reads `Up`.
pub async fn connected<F: AnyFraming>(framing: F, url: &str) -> Conn<F> {
    connected_with(TransportLayer::new().framing(framing), url).await.0
}

pub async fn connected_with<F: AnyFraming>(layer: TransportLayer<F>, url: &str) -> (Conn<F>, Up) {
    let mut connection = dial(layer, url).await.unwrap();
    match connection.next().await {
        Some(Event::Up(up)) => (connection, up),
        other => panic!("{other:?}"),
    }
}

/// The error of a dial that must fail.
pub async fn refused(layer: UpgradeLayer, url: &str) -> UpgradeError {
    let upgrade: Upgrade<_> = layer.layer(tcp());
    bounded(upgrade.oneshot(get(url))).await.map(drop).unwrap_err()
}

/// Reads to the end: the messages, and the one `Down`, after which there must be nothing.
pub async fn to_the_end<C>(mut connection: C) -> (Vec<Message>, Down)
where
    C: Connection<Message = Message> + Unpin,
{
    let mut messages = Vec::new();
    loop {
        match bounded(connection.next()).await {
            Some(Event::Message(message)) => messages.push(message),
            Some(Event::Down(down)) => {
                assert!(connection.next().await.is_none());
                return (messages, down);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Why the connection went down by itself.
pub async fn cause<F: AnyFraming>(framing: F, url: &str) -> Failure {
    to_the_end(connected(framing, url).await).await.1.cause
}

pub fn kinds(failure: &Failure) -> (FailureKind, Option<u16>) {
    (failure.kind(), failure.status())
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
