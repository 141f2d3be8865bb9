//! The layers among others: stock tower-http layers, other connectors, auto traits.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, header::USER_AGENT};
use hyper_util::rt::TokioIo;
use support::{bounded, get, tcp};
use tokio::io::DuplexStream;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    auth::AddAuthorizationLayer,
    request_id::{MakeRequestUuid, SetRequestIdLayer},
    set_header::SetRequestHeaderLayer,
};
use tower_ws_core::{BoxError, Event, boxed};
use tower_ws_test_kit::{Script, Server};
use tower_ws_transport::{
    Kind, LiftLayer, LiftService, Message, Transport, TransportLayer, Upgrade, UpgradeFuture, UpgradeLayer,
    WebSocketConnection,
};

#[tokio::test]
async fn stock_request_layers_reach_the_server() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut transport = ServiceBuilder::new()
        .layer(LiftLayer::new())
        .layer(AddAuthorizationLayer::bearer("token"))
        .layer(SetRequestHeaderLayer::overriding(
            USER_AGENT,
            HeaderValue::from_static("tower-http"),
        ))
        .layer(SetRequestIdLayer::new(
            HeaderName::from_static("x-request-id"),
            MakeRequestUuid,
        ))
        .concurrency_limit(1)
        .layer(UpgradeLayer::new())
        .service(tcp());
    for dial in 0..2 {
        let connection = async {
            transport.ready().await.unwrap();
            tower::Service::call(&mut transport, get(&server.url())).await
        };
        let mut connection = boxed(bounded(connection).await.unwrap());
        assert!(matches!(connection.next().await, Some(Event::Up(_))));
        let headers = &server.requests()[dial].headers;
        assert_eq!(headers["authorization"], "Bearer token");
        assert_eq!(headers["user-agent"], "tower-http");
        assert!(headers.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn any_byte_stream_will_do() {
    let connector = service_fn(|uri: http::Uri| async move {
        assert_eq!(uri, "http://pipe/");
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut ws = tokio_tungstenite::accept_async(far).await.unwrap();
            while let Some(Ok(message)) = ws.next().await {
                if message.is_text() {
                    ws.send(message).await.unwrap();
                }
            }
        });
        Ok::<_, BoxError>(TokioIo::new(near))
    });
    let mut connection = bounded(TransportLayer::new().layer(connector).oneshot(get("ws://pipe")))
        .await
        .unwrap();
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    connection.send(Message::text("hello").into()).await.unwrap();
    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Text
    ));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket() {
    let path = std::env::temp_dir().join(format!("tower-ws-{}-{}.sock", std::process::id(), line!()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut ws = tokio_tungstenite::accept_async(stream).await.unwrap();
        ws.send(tokio_tungstenite::tungstenite::Message::text("hello"))
            .await
            .unwrap();
    });
    let dialled = path.clone();
    let connector = service_fn(move |_: http::Uri| {
        let path = dialled.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let mut connection = bounded(TransportLayer::new().layer(connector).oneshot(get("ws://localhost/")))
        .await
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Text
    ));
    server.await.unwrap();
}

#[test]
fn auto_traits() {
    fn service<T: Send + Sync + Clone + 'static>() {}
    fn connection<T: Send + Unpin + 'static>() {}
    service::<UpgradeLayer>();
    service::<LiftLayer>();
    service::<TransportLayer>();
    service::<Upgrade<hyper_util::client::legacy::connect::HttpConnector>>();
    service::<LiftService<()>>();
    service::<Transport<tower_ws_connector::TcpConnector>>();
    service::<tower_ws_transport::lines::Lines<()>>();
    connection::<UpgradeFuture<DuplexStream>>();
    connection::<WebSocketConnection<TokioIo<DuplexStream>>>();
    connection::<tower_ws_transport::lines::LinesConnection<DuplexStream>>();
    let _ = std::marker::PhantomData::<Transport<()>>;
}
