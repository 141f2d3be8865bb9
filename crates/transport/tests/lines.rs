//! Lines over byte streams.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::bounded;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{BoxError, Deadlines, DropReason, Event, FailureKind, Progress};
use tower_ws_transport::lines::{LinesConnection, LinesLayer};

async fn connect(layer: LinesLayer) -> (LinesConnection<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(64);
    let mut near = Some(near);
    let pipe = service_fn(move |()| std::future::ready(near.take().ok_or_else(|| BoxError::from("one only"))));
    let mut connection = layer.layer(pipe).oneshot(()).await.unwrap();
    match connection.next().await {
        Some(Event::Up(up)) => {
            assert_eq!(up.layers, ["lines"]);
            assert!(up.extensions.get::<Progress>().is_some());
        }
        other => panic!("{other:?}"),
    }
    (connection, far)
}

#[tokio::test]
async fn lines_there_and_back_and_an_end_in_order() {
    // It ends because the peer sees the end of our lines, not because a deadline passed.
    let layer = LinesLayer::new().deadlines(Deadlines::default().close(Duration::from_secs(3600)));
    let (connection, far) = connect(layer).await;
    let peer = tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(far);
        let mut lines = BufReader::new(read).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            write.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        }
        write.shutdown().await.unwrap();
    });
    let (mut sink, mut stream) = connection.split();
    let writer = tokio::spawn(async move {
        for n in 0..100 {
            sink.send(format!("{n} {}", "x".repeat(n)).into()).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    for n in 0..100 {
        match bounded(stream.next()).await {
            Some(Event::Message(line)) => assert_eq!(line, format!("{n} {}", "x".repeat(n))),
            other => panic!("{other:?}"),
        }
    }
    match bounded(stream.next()).await {
        Some(Event::Down(down)) => assert_eq!(down.cause.kind(), FailureKind::Local),
        other => panic!("{other:?}"),
    }
    assert!(stream.next().await.is_none());
    bounded(writer).await.unwrap();
    bounded(peer).await.unwrap();
}

#[tokio::test]
async fn what_is_no_line_comes_back() {
    let (mut connection, mut far) = connect(LinesLayer::new().max_length(10)).await;
    for bad in ["two\nlines", "end\r", "much too long"] {
        connection.send(bad.to_owned().into()).await.unwrap();
        match bounded(connection.next()).await {
            Some(Event::Dropped(item, DropReason::Refused(_))) => {
                assert_ne!(item.message, "much too long");
            }
            Some(Event::Dropped(_, DropReason::TooLarge { size: 13, limit: 10 })) => {}
            other => panic!("{other:?}"),
        }
    }
    connection.send("fine".to_owned().into()).await.unwrap();
    let mut sent = [0; 5];
    far.read_exact(&mut sent).await.unwrap();
    assert_eq!(&sent, b"fine\n");
}

#[tokio::test]
async fn how_it_ends() {
    for (sent, kind) in [
        (&b"last"[..], FailureKind::Network),
        (b"\xff\n", FailureKind::Protocol),
        (b"more than ten bytes", FailureKind::Policy),
    ] {
        let (mut connection, mut far) = connect(LinesLayer::new().max_length(10)).await;
        far.write_all(sent).await.unwrap();
        drop(far);
        let mut event = bounded(connection.next()).await;
        if let Some(Event::Message(line)) = event {
            assert_eq!(line, "last");
            event = bounded(connection.next()).await;
        }
        match event {
            Some(Event::Down(down)) => assert_eq!(down.cause.kind(), kind, "{}", down.cause),
            other => panic!("{other:?}"),
        }
        assert!(connection.next().await.is_none());
    }
}
