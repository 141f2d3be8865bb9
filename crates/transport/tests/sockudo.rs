//! The bare socket of the second framing: what the lift does not show.
#![cfg(feature = "sockudo")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use support::{bounded, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::{
    accept_async,
    tungstenite::{Error, error::ProtocolError},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_transport::{
    Limits, Message, UpgradeLayer,
    sockudo::{Sockudo, SockudoSocket},
};

const PIECE: usize = 4096;

/// A socket that gathers little, and the bare stream of its peer.
async fn socket() -> (SockudoSocket<TokioIo<DuplexStream>>, DuplexStream) {
    let (near, far) = tokio::io::duplex(1024);
    let mut near = Some(TokioIo::new(near));
    let connector = service_fn(move |_| std::future::ready(near.take().ok_or("one only")));
    let limits = Limits::default().fragment(PIECE).write_buffer(4 * PIECE);
    let layer = UpgradeLayer::new().framing(Sockudo::new()).limits(limits);
    let dial = layer.layer(connector).oneshot(get("ws://pipe/"));
    let (answer, ws) = tokio::join!(dial, accept_async(far));
    (answer.unwrap().into_body(), ws.unwrap().into_inner())
}

#[tokio::test]
async fn a_peer_that_pings_and_does_not_read_fills_nothing() {
    const COUNT: u32 = 5000;
    let (mut socket, mut far) = socket().await;
    let (mut read, mut write) = tokio::io::split(&mut far);
    let pinging = async {
        for n in 1..=COUNT {
            write.write_all(&[0x89, 4]).await.unwrap();
            write.write_all(&n.to_be_bytes()).await.unwrap();
        }
    };
    let hearing = async {
        for n in 1..=COUNT {
            let ping = socket.next().await.unwrap().unwrap();
            assert_eq!(ping, Message::ping(Bytes::copy_from_slice(&n.to_be_bytes())));
        }
    };
    bounded(async { tokio::join!(pinging, hearing) }).await;

    // Reading goes on, and with it the answers leave: few, and the one to the last ping among them.
    let (mut pongs, mut last) = (0, 0);
    let answers = async {
        while last < COUNT {
            let mut frame = [0; 10];
            read.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[..2], [0x8a, 0x84]);
            let payload: [u8; 4] = std::array::from_fn(|at| frame[6 + at] ^ frame[2 + at]);
            let n = u32::from_be_bytes(payload);
            assert!(n > last, "{n} after {last}");
            (pongs, last) = (pongs + 1, n);
        }
    };
    tokio::select! {
        () = bounded(answers) => {}
        other = socket.next() => panic!("{other:?}"),
    }
    // What gathers, what the pipe holds, and one that is on its way.
    assert!(pongs <= (PIECE + 1024) / 10 + 2, "{pongs}");
}

#[tokio::test]
async fn nothing_is_said_after_a_close_frame() {
    let (mut socket, _far) = socket().await;
    socket.send(Message::close(1005, "")).await.unwrap();
    let refused = socket.start_send_unpin(Message::text("too late"));
    assert!(
        matches!(
            refused.as_ref().unwrap_err().downcast_ref(),
            Some(Error::Protocol(ProtocolError::SendAfterClosing))
        ),
        "{refused:?}"
    );
    // Saying it again is no mistake.
    socket.start_send_unpin(Message::close(1005, "")).unwrap();
    socket.close().await.unwrap();
}

#[tokio::test]
async fn what_does_not_fit_is_given_back() {
    let (mut socket, _far) = socket().await;
    let message = Message::binary(vec![7; PIECE]);
    let refused = loop {
        if let Err(error) = socket.start_send_unpin(message.clone()) {
            break error;
        }
    };
    assert!(matches!(
        refused.downcast_ref(),
        Some(Error::WriteBufferFull(back)) if back.len() == message.len()
    ));
    // And who asks first waits.
    assert!(
        std::future::poll_fn(|cx| socket.poll_ready_unpin(cx))
            .now_or_never()
            .is_none()
    );
}
