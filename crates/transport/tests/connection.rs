//! Connections whose peers misbehave.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use support::{AnyFraming, bounded, cause, connected, connected_with, to_the_end};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tokio_tungstenite::tungstenite::{Message as Theirs, protocol::CloseFrame};
use tower_ws_core::{Deadlines, Disposition, DropReason, Event, FailureKind, Progress, find};
use tower_ws_test_kit::{Cut, Script, Server};
use tower_ws_transport::{FrameError, Kind, Limits, Message, TransportLayer};

over_each_framing! {
    closing_in_order,
    closing_with_a_code_of_ones_own,
    close_codes_that_are_legal,
    close_codes_that_are_not,
    a_close_frame_without_a_code_is_1005,
    an_end_without_a_close_frame,
    frames_that_break_the_protocol,
    the_peer_is_told_what_it_did_wrong,
    too_large_on_the_way_in,
    too_large_on_the_way_out,
    many_fragments_and_unasked_pongs_do_no_harm,
    endless_fragments_end_the_connection,
    a_message_that_drips_ends_the_connection,
    a_true_1002_is_told_from_an_illegal_code,
    a_flood_of_pings_does_not_hold_up_messages,
    each_ping_of_a_burst_is_answered,
    a_peer_that_stops_reading,
    a_peer_that_closes_and_does_not_end,
    a_peer_that_ignores_our_close_frame,
    what_comes_after_a_close_frame_is_dropped,
    silence_with_an_idle_deadline,
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_writer_and_a_reader_in_two_tasks,
}

fn deadlines() -> Deadlines {
    let short = Duration::from_millis(400);
    Deadlines::default().write(Some(short)).close(short)
}

async fn closing_in_order(framing: impl AnyFraming) {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut connection = connected(framing.clone(), &server.url()).await;
    connection.send(Message::text("last words").into()).await.unwrap();
    connection.close().await.unwrap();
    let (messages, down) = to_the_end(connection).await;
    // What the peer said before it answered the closing is not lost.
    assert_eq!(messages, [Message::text("last words")]);
    assert_eq!(down.cause.kind(), FailureKind::Local);
    bounded(server.wait_live(0)).await;
}

async fn closing_with_a_code_of_ones_own(framing: impl AnyFraming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut ws = tokio_tungstenite::accept_async(tcp).await.unwrap();
        let said = ws.next().await;
        while ws.next().await.is_some() {}
        said
    });
    let mut connection = connected(framing.clone(), &url).await;
    connection.send(Message::close(4000, "done").into()).await.unwrap();
    connection.close().await.unwrap();
    let (_, down) = to_the_end(connection).await;
    assert_eq!(down.cause.kind(), FailureKind::Local);
    assert_eq!(
        bounded(peer).await.unwrap().unwrap().unwrap(),
        Theirs::Close(Some(CloseFrame {
            code: 4000.into(),
            reason: "done".into(),
        }))
    );
}

async fn close_codes_that_are_legal(framing: impl AnyFraming) {
    for (code, disposition) in [
        (1000, Some(Disposition::Backoff)),
        (1001, Some(Disposition::Backoff)),
        (1002, Some(Disposition::Final)),
        (1012, None),
        (1013, None),
        (4401, Some(Disposition::RefreshCredentials)),
    ] {
        let server = Server::start(Script::close(code, "why\nnot")).await.unwrap();
        let failure = cause(framing.clone(), &server.url()).await;
        assert_eq!(failure.kind(), FailureKind::Closed, "{code}");
        let close = failure.close().unwrap();
        assert_eq!((close.code, close.reason.as_str()), (code, "why\nnot"));
        assert!(!failure.to_string().contains('\n'));
        if let Some(disposition) = disposition {
            assert_eq!(failure.disposition(), disposition, "{code}");
        }
    }
}

async fn close_codes_that_are_not(framing: impl AnyFraming) {
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let server = Server::start(Script::close(code, "")).await.unwrap();
        let failure = cause(framing.clone(), &server.url()).await;
        assert_eq!(failure.kind(), FailureKind::Protocol, "{code}: {failure}");
        assert!(failure.close().is_none(), "{code}");
    }
}

async fn a_close_frame_without_a_code_is_1005(framing: impl AnyFraming) {
    let server = Server::start(Script::Raw(Bytes::from_static(&[0x88, 0])))
        .await
        .unwrap();
    let failure = cause(framing.clone(), &server.url()).await;
    assert_eq!(failure.close().unwrap().code, 1005);
}

async fn an_end_without_a_close_frame(framing: impl AnyFraming) {
    for (script, says) in [
        (Script::fin(), "without a close frame"),
        (Script::CutMidFrame(Cut::Fin), "without a close frame"),
        (Script::rst(), "reset"),
        (Script::CutMidFrame(Cut::Rst), "reset"),
    ] {
        let server = Server::start(script.clone()).await.unwrap();
        let failure = cause(framing.clone(), &server.url()).await;
        assert_eq!(failure.kind(), FailureKind::Network, "{script:?}");
        assert!(failure.to_string().contains(says), "{script:?}: {failure}");
    }
}

async fn frames_that_break_the_protocol(framing: impl AnyFraming) {
    for script in [
        Script::InvalidUtf8,
        Script::MaskedFrame,
        Script::Rsv1,
        Script::BadOpcode,
    ] {
        let server = Server::start(script.clone()).await.unwrap();
        let failure = cause(framing.clone(), &server.url()).await;
        assert_eq!(failure.kind(), FailureKind::Protocol, "{script:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
    }
}

/// Autobahn's cases 2.10 and 2.11: in one write, and byte by byte.
async fn each_ping_of_a_burst_is_answered(framing: impl AnyFraming) {
    const COUNT: u8 = 10;
    let pings: Vec<u8> = (0..COUNT).flat_map(|n| [0x89, 1, n]).collect();
    for at_once in [pings.len(), 1] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let pings = pings.clone();
        let peer = async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tcp = tokio_tungstenite::accept_async(tcp).await.unwrap().into_inner();
            tcp.set_nodelay(true).unwrap();
            for some in pings.chunks(at_once) {
                tcp.write_all(some).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut answered = Vec::new();
            for _ in 0..COUNT {
                let mut pong = [0; 7];
                tcp.read_exact(&mut pong).await.unwrap();
                assert_eq!(pong[..2], [0x8a, 0x81]);
                answered.push(pong[6] ^ pong[2]);
            }
            answered
        };
        let layer = TransportLayer::new().framing(framing.clone());
        let reading = async {
            let (mut connection, _) = connected_with(layer, &url).await;
            while let Some(Event::Message(ping)) = connection.next().await {
                assert_eq!(ping.kind(), Kind::Ping);
            }
        };
        tokio::select! {
            answered = bounded(peer) => assert!(answered.into_iter().eq(0..COUNT)),
            () = reading => panic!("the connection lives"),
        }
    }
}

async fn the_peer_is_told_what_it_did_wrong(framing: impl AnyFraming) {
    for (bytes, code) in [
        (&b"\x83\x00"[..], 1002),
        (b"\xc1\x00", 1002),
        (b"\x81\x02\xc3\x28", 1007),
        // Before the rest of the message has come.
        (b"\x01\x02\xc3\x28", 1007),
        (b"\x01\x01\xc3\x00\x01\x28", 1007),
        // Lengths in more bytes than they need.
        (b"\x82\x7e\x00\x01a", 1002),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01a", 1002),
        (b"\x88\x02\x03\xe7", 1002),
        (b"\x82\x7e\x04\x01", 1009),
        (b"\x01\x00\x00\x00\x00\x00", 1009),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let peer = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tcp = tokio_tungstenite::accept_async(tcp).await.unwrap().into_inner();
            tcp.write_all(bytes).await.unwrap();
            let mut frame = Vec::new();
            tcp.read_to_end(&mut frame).await.unwrap();
            frame
        });
        let layer = TransportLayer::new()
            .framing(framing.clone())
            .limits(Limits::default().message_in(1024).frame_in(1024).fragments(2));
        let (connection, _) = connected_with(layer, &url).await;
        let (_, down) = to_the_end(connection).await;
        assert!(
            matches!(down.cause.kind(), FailureKind::Protocol | FailureKind::Policy),
            "{bytes:x?}"
        );
        let frame = bounded(peer).await.unwrap();
        assert_eq!(frame[0], 0x88, "a close frame");
        let (mask, masked) = (&frame[2..6], &frame[6..8]);
        let sent = u16::from_be_bytes([masked[0] ^ mask[0], masked[1] ^ mask[1]]);
        assert_eq!(sent, code, "{bytes:x?}");
    }
}

async fn too_large_on_the_way_in(framing: impl AnyFraming) {
    let limits = Limits::default().message_in(1 << 20).frame_in(1 << 20);
    for script in [Script::OversizeFrame { claims: 1 << 40 }, Script::FragmentBomb] {
        let server = Server::start(script.clone()).await.unwrap();
        let (connection, up) = connected_with(
            TransportLayer::new().framing(framing.clone()).limits(limits),
            &server.url(),
        )
        .await;
        let (messages, down) = to_the_end(connection).await;
        assert!(messages.is_empty());
        assert_eq!(down.cause.kind(), FailureKind::Policy, "{script:?}: {}", down.cause);
        assert!(down.cause.to_string().contains("1048576"), "{}", down.cause);
        let read = up.extensions.get::<Progress>().unwrap().read();
        assert!(read < 2 << 20, "{read} bytes were read");
    }
}

async fn too_large_on_the_way_out(framing: impl AnyFraming) {
    let server = Server::start(Script::Echo).await.unwrap();
    let layer = TransportLayer::new()
        .framing(framing.clone())
        .limits(Limits::default().message_out(1000));
    let (mut connection, _) = connected_with(layer, &server.url()).await;
    connection.send(Message::text("x".repeat(1001)).into()).await.unwrap();
    match bounded(connection.next()).await {
        Some(Event::Dropped(
            _,
            DropReason::TooLarge {
                size: 1001,
                limit: 1000,
            },
        )) => {}
        other => panic!("{other:?}"),
    }
    // The connection is none the worse for it.
    connection.send(Message::text("x".repeat(1000)).into()).await.unwrap();
    assert!(matches!(bounded(connection.next()).await, Some(Event::Message(_))));
}

async fn many_fragments_and_unasked_pongs_do_no_harm(framing: impl AnyFraming) {
    let server = Server::start(Script::EmptyFragments(60_000)).await.unwrap();
    let mut connection = connected(framing.clone(), &server.url()).await;
    match bounded(connection.next()).await {
        Some(Event::Message(message)) => assert_eq!(message, Message::text("end")),
        other => panic!("{other:?}"),
    }
    let server = Server::start(Script::UnsolicitedPong).await.unwrap();
    let mut connection = connected(framing.clone(), &server.url()).await;
    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Pong
    ));
    connection.send(Message::text("still here").into()).await.unwrap();
    assert!(matches!(
        bounded(connection.next()).await,
        Some(Event::Message(message)) if message.kind() == Kind::Text
    ));
}

/// They cost the peer nothing, and no limit on bytes ends them.
async fn endless_fragments_end_the_connection(framing: impl AnyFraming) {
    for (limits, count) in [(Limits::default(), 200_000), (Limits::default().fragments(100), 200)] {
        let server = Server::start(Script::EmptyFragments(count)).await.unwrap();
        let (connection, _) = connected_with(
            TransportLayer::new().framing(framing.clone()).limits(limits),
            &server.url(),
        )
        .await;
        let (messages, down) = to_the_end(connection).await;
        assert_eq!(messages, []);
        assert_eq!(down.cause.kind(), FailureKind::Policy);
        assert_eq!(down.cause.disposition(), Disposition::Final);
        let limit = limits.fragments;
        assert_eq!(find(&down.cause), Some(&FrameError::TooManyFragments { limit }));
    }
}

/// A byte now and then is life to whoever counts bytes.
async fn a_message_that_drips_ends_the_connection(framing: impl AnyFraming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tcp = tokio_tungstenite::accept_async(tcp).await.unwrap().into_inner();
        // A whole message, then one of 120 bytes that does not come.
        tcp.write_all(b"\x81\x02ok\x81\x78").await.unwrap();
        while tcp.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let limit = Duration::from_millis(300);
    let limits = Limits::default().message_time(limit);
    let (connection, _) = connected_with(TransportLayer::new().framing(framing.clone()).limits(limits), &url).await;
    let (messages, down) = to_the_end(connection).await;
    assert_eq!(messages, [Message::text("ok")]);
    assert_eq!(down.cause.kind(), FailureKind::Timeout);
    assert_eq!(find(&down.cause), Some(&FrameError::TooSlow { limit }));
    bounded(peer).await.unwrap();
}

/// The codec gives them all out as 1002, with words that a peer may use as well.
async fn a_true_1002_is_told_from_an_illegal_code(framing: impl AnyFraming) {
    let server = Server::start(Script::close(1002, "Protocol violation")).await.unwrap();
    let failure = cause(framing.clone(), &server.url()).await;
    assert_eq!(failure.close().map(|close| close.code), Some(1002));
    server.play(Script::close(5000, "Protocol violation"));
    let failure = cause(framing.clone(), &server.url()).await;
    assert_eq!((failure.kind(), failure.close()), (FailureKind::Protocol, None));
    assert_eq!(find(&failure), Some(&FrameError::IllegalCloseCode { code: 5000 }));
}

async fn a_flood_of_pings_does_not_hold_up_messages(framing: impl AnyFraming) {
    let server = Server::start(Script::PingFlood(20_000)).await.unwrap();
    let mut connection = connected(framing.clone(), &server.url()).await;
    connection.send(Message::text("through").into()).await.unwrap();
    let mut pings = 0;
    loop {
        match bounded(connection.next()).await {
            Some(Event::Message(message)) if message.kind() == Kind::Ping => pings += 1,
            Some(Event::Message(message)) => break assert_eq!(message, Message::text("through")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pings, 20_000);
}

async fn a_peer_that_stops_reading(framing: impl AnyFraming) {
    let server = Server::start(Script::StopReading).await.unwrap();
    let layer = TransportLayer::new().framing(framing.clone()).deadlines(deadlines());
    let (connection, up) = connected_with(layer, &server.url()).await;
    let progress = up.extensions.get::<Progress>().unwrap().clone();
    let (mut sink, mut stream) = connection.split();
    let writer = tokio::spawn(async move {
        let message = Message::binary(vec![0; 256 << 10]);
        let mut sent = 0_u32;
        while sink.send(message.clone().into()).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let failure = loop {
        match bounded(stream.next()).await {
            Some(Event::Down(down)) => break down.cause,
            Some(Event::Dropped(..)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failure.kind(), FailureKind::Timeout, "{failure}");
    let sent = bounded(writer).await.unwrap();
    // Backpressure, not memory: what was taken is what the kernel took, and one message in the
    // works.
    let taken = u64::from(sent) * (256 << 10);
    assert!(
        taken <= progress.written() + (2 << 20),
        "{taken} {}",
        progress.written()
    );
}

async fn a_peer_that_closes_and_does_not_end(framing: impl AnyFraming) {
    let script = Script::CloseNoFin {
        code: 1001,
        reason: "bye".into(),
    };
    let server = Server::start(script).await.unwrap();
    let layer = TransportLayer::new().framing(framing.clone()).deadlines(deadlines());
    let began = Instant::now();
    let (connection, _) = connected_with(layer, &server.url()).await;
    let (_, down) = to_the_end(connection).await;
    assert_eq!(down.cause.close().unwrap().code, 1001);
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn a_peer_that_ignores_our_close_frame(framing: impl AnyFraming) {
    let server = Server::start(Script::Silent).await.unwrap();
    let layer = TransportLayer::new().framing(framing.clone()).deadlines(deadlines());
    let (mut connection, _) = connected_with(layer, &server.url()).await;
    connection.close().await.unwrap();
    let (_, down) = to_the_end(connection).await;
    assert_eq!(down.cause.kind(), FailureKind::Local);
}

async fn what_comes_after_a_close_frame_is_dropped(framing: impl AnyFraming) {
    let server = Server::start(Script::DataAfterClose).await.unwrap();
    let (messages, down) = to_the_end(connected(framing.clone(), &server.url()).await).await;
    assert!(messages.is_empty(), "{messages:?}");
    assert_eq!(down.cause.close().unwrap().code, 1000);
}

async fn silence_with_an_idle_deadline(framing: impl AnyFraming) {
    let server = Server::start(Script::Silent).await.unwrap();
    let idle = deadlines().idle(Some(Duration::from_millis(300)));
    let (connection, _) = connected_with(
        TransportLayer::new().framing(framing.clone()).deadlines(idle),
        &server.url(),
    )
    .await;
    let (_, down) = to_the_end(connection).await;
    assert_eq!(down.cause.kind(), FailureKind::Timeout);
    assert!(down.cause.to_string().contains("300ms"), "{}", down.cause);
}

async fn a_writer_and_a_reader_in_two_tasks(framing: impl AnyFraming) {
    const COUNT: usize = 5000;
    let server = Server::start(Script::Echo).await.unwrap();
    let (mut sink, mut stream) = connected(framing.clone(), &server.url()).await.split();
    let writer = tokio::spawn(async move {
        for n in 0..COUNT {
            sink.send(Message::text(n.to_string()).into()).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    let mut next = 0;
    loop {
        match bounded(stream.next()).await {
            Some(Event::Message(message)) if message.kind() == Kind::Close => {}
            Some(Event::Message(message)) => {
                assert_eq!(message, Message::text(next.to_string()));
                next += 1;
            }
            Some(Event::Down(down)) => break assert_eq!(down.cause.kind(), FailureKind::Local),
            other => panic!("{other:?}"),
        }
    }
    bounded(writer).await.unwrap();
    assert_eq!(next, COUNT);
}
