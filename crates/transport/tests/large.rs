//! Large messages: fragments on the way out, and control frames between them.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    future::ready as ready_future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use support::{AnyFraming, bounded, connected, get};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpListener,
    sync::oneshot,
};
use tokio_tungstenite::{accept_async, tungstenite::protocol::WebSocketConfig};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{Event, Outgoing};
use tower_ws_test_kit::{Script, Server};
use tower_ws_transport::{Kind, Limits, Message, TransportLayer};

over_each_framing! {
    five_mebibytes_there_and_back,
    the_peer_sees_fragments_and_a_ping_between_them,
    fragments_on_the_way_in_are_joined_around_a_ping,
    messages_that_are_kept_do_not_shrink_the_read_buffer,
}

const SIZE: usize = 5 << 20;

async fn five_mebibytes_there_and_back(framing: impl AnyFraming) {
    let server = Server::start(Script::Echo).await.unwrap();
    let (mut sink, mut stream) = connected(framing.clone(), &server.url()).await.split();
    let text: String = ('a'..='z').cycle().take(SIZE).collect();
    let message = Message::text(text);
    let sent = message.clone();
    let writer = tokio::spawn(async move {
        sink.send(sent.into()).await.unwrap();
        sink
    });
    match bounded(stream.next()).await {
        Some(Event::Message(echo)) => assert!(echo == message),
        other => panic!("{other:?}"),
    }
    drop(bounded(writer).await.unwrap());
}

/// One frame as it was on the wire.
#[derive(Debug, PartialEq)]
struct Frame {
    fin: bool,
    opcode: u8,
    len: usize,
}

async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> Frame {
    let (first, second) = (io.read_u8().await.unwrap(), io.read_u8().await.unwrap());
    assert!(second & 0x80 != 0, "a client masks");
    let len = match second & 0x7f {
        126 => usize::from(io.read_u16().await.unwrap()),
        127 => usize::try_from(io.read_u64().await.unwrap()).unwrap(),
        len => usize::from(len),
    };
    let mut rest = vec![0; 4 + len];
    io.read_exact(&mut rest).await.unwrap();
    Frame {
        fin: first & 0x80 != 0,
        opcode: first & 0x0f,
        len,
    }
}

async fn the_peer_sees_fragments_and_a_ping_between_them(framing: impl AnyFraming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (read, may_read) = oneshot::channel();
    let peer = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let ws = accept_async(tcp).await.unwrap();
        let mut tcp = ws.into_inner();
        may_read.await.unwrap();
        let mut frames = Vec::new();
        loop {
            let frame = read_frame(&mut tcp).await;
            let last = frame.fin && frame.opcode == 0;
            frames.push(frame);
            if last {
                break;
            }
        }
        tcp.write_all(&[0x81, 2, b'o', b'k']).await.unwrap();
        // Held until the client has read it.
        (frames, tcp)
    });

    let mut connection = connected(framing.clone(), &url).await;
    connection.feed(Message::binary(vec![7; SIZE]).into()).await.unwrap();
    // The peer does not read: some of the message is in the kernel's buffers, the rest waits here.
    assert!(connection.flush().now_or_never().is_none());
    connection
        .start_send_unpin(Outgoing::new(Message::ping("alive")).control())
        .unwrap();
    read.send(()).unwrap();
    bounded(connection.flush()).await.unwrap();

    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Text
    ));
    let (frames, _tcp) = bounded(peer).await.unwrap();
    let ping = frames.iter().position(|frame| frame.opcode == 9).expect("a ping");
    assert!(
        0 < ping && ping < frames.len() - 1,
        "the ping is frame {ping} of {}",
        frames.len()
    );
    let (control, data): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| frame.opcode >= 8);
    assert_eq!(
        control,
        [Frame {
            fin: true,
            opcode: 9,
            len: 5
        }]
    );
    assert_eq!(
        data[0],
        Frame {
            fin: false,
            opcode: 2,
            len: Limits::FRAGMENT
        }
    );
    assert!(
        data[1..]
            .iter()
            .all(|frame| frame.opcode == 0 && frame.len <= Limits::FRAGMENT)
    );
    assert!(data[1..data.len() - 1].iter().all(|frame| !frame.fin));
    assert_eq!(data.iter().map(|frame| frame.len).sum::<usize>(), SIZE);
}

async fn fragments_on_the_way_in_are_joined_around_a_ping(framing: impl AnyFraming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let config = WebSocketConfig::default();
        let ws = tokio_tungstenite::accept_async_with_config(tcp, Some(config))
            .await
            .unwrap();
        let mut tcp = ws.into_inner();
        for (first, payload) in [(0x01, "he"), (0x89, "?"), (0x80, "llo")] {
            tcp.write_all(&[first, payload.len() as u8]).await.unwrap();
            tcp.write_all(payload.as_bytes()).await.unwrap();
        }
        let pong = read_frame(&mut tcp).await;
        assert_eq!(
            pong,
            Frame {
                fin: true,
                opcode: 10,
                len: 1
            }
        );
    });
    let mut connection = connected(framing.clone(), &url).await;
    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Ping
    ));
    match bounded(connection.next()).await {
        Some(Event::Message(message)) => assert_eq!(message, Message::text("hello")),
        other => panic!("{other:?}"),
    }
    // Reading goes on, and the pong leaves with it.
    let end = bounded(connection.next()).await;
    assert!(matches!(end, Some(Event::Down(_))), "{end:?}");
    bounded(peer).await.unwrap();
}

/// A byte stream that counts the reads that found something.
struct Reads<IO>(IO, Arc<AtomicUsize>);

impl<IO: AsyncRead + Unpin> AsyncRead for Reads<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        self.1.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Reads<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn messages_that_are_kept_do_not_shrink_the_read_buffer(framing: impl AnyFraming) {
    const COUNT: usize = 1000;
    let reads = Arc::new(AtomicUsize::new(0));
    let (near, far) = tokio::io::duplex(4 << 20);
    let mut near = Some(TokioIo::new(Reads(near, reads.clone())));
    let connector = service_fn(move |_: http::Uri| ready_future(near.take().ok_or("one only")));
    let peer = tokio::spawn(async move {
        let mut ws = accept_async(far).await.unwrap();
        for _ in 0..COUNT {
            ws.feed(tokio_tungstenite::tungstenite::Message::binary(vec![1; 1024]))
                .await
                .unwrap();
        }
        ws.flush().await.unwrap();
        ws
    });
    let transport = TransportLayer::new().framing(framing.clone()).layer(connector);
    let mut connection = bounded(transport.oneshot(get("ws://pipe/"))).await.unwrap();
    let _peer = bounded(peer).await.unwrap();
    let before = reads.load(Ordering::Relaxed);
    let mut kept = Vec::new();
    while kept.len() <= COUNT {
        kept.push(bounded(connection.next()).await.unwrap());
    }
    // 125 with 16 KiB; a codec that was given what was read ahead remembers that size, and needs 494.
    let reads = reads.load(Ordering::Relaxed) - before;
    assert!(reads < 250, "{reads} reads");
}
