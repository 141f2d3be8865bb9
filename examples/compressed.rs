//! The recommended stack over a compressed WebSocket: only the framing is another one, and the
//! layers do not notice.
//!
//! What was said and what it took on the wire is printed at the end.
//!
//! ```text
//! cargo run --example compressed
//! ```

use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Value, json};
use sockudo_ws::{
    deflate::DeflateConfig,
    handshake::{build_response, generate_accept_key, parse_request},
    protocol::{CompressedProtocol, Message},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Incoming,
    connector::tcp_connector,
    core::{BoxError, Progress},
    transport::{
        Handshake, TransportLayer,
        sockudo::{Deflate, Sockudo},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Err(error) = serve(stream).await {
                println!("the server: {error}");
            }
        }
    });

    let framing = Sockudo::new().deflate(Deflate::new());
    let transport = ServiceBuilder::new()
        .layer(TransportLayer::new().framing(framing))
        .service(tcp_connector());
    let (client, mut inbound) = tower_ws::stack(transport)
        .oneshot(http::Request::get(&url).body(())?)
        .await?;
    let Some(Incoming::Up(up)) = inbound.next().await else {
        return Err("a session begins with a connection".into());
    };
    let chosen = up
        .extensions
        .get::<Handshake>()
        .and_then(|answer| answer.headers().get("sec-websocket-extensions"));
    println!("the server chose {chosen:?}");

    let text = json!({ "rows": vec![json!({ "name": "somebody", "age": 42, "town": "somewhere" }); 500] });
    let size = text.to_string().len();
    for _ in 0..10 {
        let echo: Value = client.request("echo", &text).await?;
        assert_eq!(echo, text);
    }
    let progress = up.extensions.get::<Progress>().ok_or("the transport counts bytes")?;
    println!("10 calls and their answers, of {size} bytes each");
    println!(
        "on the wire: {} bytes out, {} bytes in",
        progress.written(),
        progress.read()
    );
    client.close(Duration::from_secs(1)).await;
    Ok(())
}

/// The server's side of the same crate, which does no I/O: it agrees to compress, and echoes
/// parameters.
async fn serve(mut stream: TcpStream) -> Result<(), BoxError> {
    let mut input = BytesMut::new();
    let accept = loop {
        stream.read_buf(&mut input).await?;
        if let Some((request, _)) = parse_request(&input)? {
            break generate_accept_key(request.key);
        }
    };
    let config = DeflateConfig::default();
    let answer = build_response(&accept, None, Some(&config.to_response_header()));
    stream.write_all(&answer).await?;

    let mut protocol = CompressedProtocol::server(16 << 20, 16 << 20, config);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    while stream.read_buf(&mut input).await? > 0 {
        for message in protocol.process(&mut input)? {
            match &message {
                Message::Text(text) => {
                    let asked: Value = serde_json::from_slice(text)?;
                    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
                    protocol.encode_message(&Message::text(answer.to_string()), &mut output)?;
                }
                Message::Ping(payload) => protocol.encode_pong(payload, &mut output),
                Message::Close(_) => {
                    protocol.encode_close_response(&mut output);
                    return Ok(stream.write_all(&output).await?);
                }
                _ => {}
            }
        }
        stream.write_all(&output.split()).await?;
    }
    Ok(())
}
