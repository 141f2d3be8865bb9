//! Compression: the laws kept with it, what is on the wire, and peers that abuse it.
#![cfg(feature = "sockudo")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use sockudo_ws::deflate::DeflateConfig;
use support::{
    bounded,
    deflating::{Deflating, answer_upgrade},
    dial, get, to_the_end,
    wire::{agreed, code_of, frame, listen, offering, read_frame},
};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{Disposition, Event, FailureKind, Progress};
use tower_ws_test_kit::conformance::{Harness, Numbering, Suite};
use tower_ws_transport::{
    Handshake, Limits, Message, TransportLayer, UpgradeError, WebSocketConnection,
    sockudo::{Deflate, Sockudo},
};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

struct Compressed {
    deflate: Deflate,
    server: DeflateConfig,
}

impl Harness for Compressed {
    type Message = Message;
    type Connection = WebSocketConnection<TokioIo<DuplexStream>, Sockudo>;
    type Peer = Deflating<DuplexStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = Some(TokioIo::new(near));
        let connector = service_fn(move |_| std::future::ready(near.take().ok_or("one only")));
        let dial = offering(self.deflate).layer(connector).oneshot(get("ws://pipe/"));
        let (connection, peer) = tokio::join!(dial, Deflating::accept(far, self.server.clone()));
        (connection.unwrap(), peer)
    }
}

/// The suite's messages, filled with what does not compress to nothing: it has to be able to fill a
/// connection.
const NUMBERS: Numbering<Message> = Numbering {
    make: |n| {
        let noise = Noise(n as u32).take(256).map(|byte| char::from(b'!' + byte % 90));
        Message::text(format!("{n} {}", noise.collect::<String>()))
    },
    read: |message| message.as_text()?.split_once(' ')?.0.parse().ok(),
};

/// Bytes that look random, the same ones each time.
struct Noise(u32);

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((self.0 >> 24) as u8)
    }
}

async fn keeps_the_laws(deflate: Deflate, server: DeflateConfig) {
    let suite = Suite::transport_of(Compressed { deflate, server }, NUMBERS);
    let report = suite.run().await;
    assert!(!report.to_string().contains("not run"), "{report}");
}

/// Everything is compressed.
fn everything() -> DeflateConfig {
    DeflateConfig {
        compression_threshold: 0,
        ..DeflateConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_laws_hold_with_compression() {
    keeps_the_laws(Deflate::new().threshold(0), everything()).await;
}

#[tokio::test(start_paused = true)]
async fn the_laws_hold_when_each_message_stands_for_itself() {
    let server = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..everything()
    };
    keeps_the_laws(Deflate::new().threshold(0).no_context_takeover(), server).await;
}

fn deflate(compress: &mut Compress, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 1024);
    compress.compress_vec(data, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflate(decompress: &mut Decompress, mut data: Vec<u8>, size: usize) -> Vec<u8> {
    data.extend(TAIL);
    let mut out = Vec::with_capacity(size + 1024);
    decompress
        .decompress_vec(&data, &mut out, FlushDecompress::Sync)
        .unwrap();
    out
}

#[tokio::test]
async fn messages_are_one_stream_unless_they_are_small() {
    let (mut connection, mut tcp) = agreed(offering(Deflate::new()), "permessage-deflate").await;
    let mut decompress = Decompress::new(false);
    let text = "the same words again ".repeat(50);
    let mut sizes = Vec::new();
    for _ in 0..2 {
        connection.send(Message::text(text.clone()).into()).await.unwrap();
        let frame = bounded(read_frame(&mut tcp)).await;
        assert_eq!(
            (frame.opcode(), frame.is_last(), frame.is_compressed()),
            (1, true, true)
        );
        sizes.push(frame.payload.len());
        assert_eq!(inflate(&mut decompress, frame.payload, text.len()), text.as_bytes());
    }
    // The second one refers to the first.
    assert!(sizes[0] < text.len() / 4 && sizes[1] < sizes[0], "{sizes:?}");

    connection.send(Message::text("small").into()).await.unwrap();
    let frame = bounded(read_frame(&mut tcp)).await;
    assert_eq!((frame.is_compressed(), &frame.payload[..]), (false, &b"small"[..]));
}

#[tokio::test]
async fn a_server_may_have_each_message_stand_for_itself() {
    let answer = "permessage-deflate; client_no_context_takeover";
    let (mut connection, mut tcp) = agreed(offering(Deflate::new()), answer).await;
    let text = "the same words again ".repeat(50);
    for _ in 0..2 {
        connection.send(Message::text(text.clone()).into()).await.unwrap();
        let frame = bounded(read_frame(&mut tcp)).await;
        // A decompressor that knows nothing.
        let inflated = inflate(&mut Decompress::new(false), frame.payload, text.len());
        assert_eq!(inflated, text.as_bytes());
    }
}

#[tokio::test]
async fn a_large_message_goes_out_in_pieces_of_one_stream() {
    const SIZE: usize = 3 << 20;
    let (mut connection, mut tcp) = agreed(offering(Deflate::new().level(1)), "permessage-deflate").await;
    // Half of it cannot be compressed.
    let data: Vec<u8> = Noise(1)
        .take(SIZE)
        .enumerate()
        .map(|(at, noise)| if at % (1 << 20) < (1 << 19) { noise } else { b'a' })
        .collect();
    let message = Message::binary(data.clone());
    let sending = tokio::spawn(async move {
        connection.send(message.into()).await.unwrap();
        connection
    });
    let mut pieces = Vec::new();
    let mut frames = 0;
    loop {
        let frame = bounded(read_frame(&mut tcp)).await;
        // The first frame says that the message is compressed, and no other (RFC 7692, section 6.1).
        assert_eq!(frame.is_compressed(), frames == 0);
        assert_eq!(frame.opcode(), if frames == 0 { 2 } else { 0 });
        // What cannot be compressed may grow a little.
        assert!(
            frame.payload.len() <= Limits::FRAGMENT * 9 / 8,
            "{}",
            frame.payload.len()
        );
        frames += 1;
        pieces.extend_from_slice(&frame.payload);
        if frame.is_last() {
            break;
        }
    }
    assert_eq!(frames, SIZE / Limits::FRAGMENT);
    assert!(inflate(&mut Decompress::new(false), pieces, SIZE) == data);
    drop(bounded(sending).await.unwrap());
}

#[tokio::test]
async fn what_comes_in_may_be_compressed_or_not_whole_or_in_pieces() {
    let (mut connection, mut tcp) = agreed(offering(Deflate::new()), "permessage-deflate").await;
    let mut compress = Compress::new(Compression::fast(), false);
    let whole = deflate(&mut compress, b"whole");
    let pieces = deflate(&mut compress, "in pi\u{e8}ces".as_bytes());
    let (one, two) = pieces.split_at(4);
    tcp.write_all(&frame(0xc1, &whole)).await.unwrap();
    tcp.write_all(&frame(0x81, b"plain")).await.unwrap();
    tcp.write_all(&frame(0x41, one)).await.unwrap();
    tcp.write_all(&frame(0x89, b"?")).await.unwrap();
    tcp.write_all(&frame(0x80, two)).await.unwrap();
    for expected in [
        Message::text("whole"),
        Message::text("plain"),
        Message::ping("?"),
        Message::text("in pi\u{e8}ces"),
    ] {
        match bounded(connection.next()).await {
            Some(Event::Message(message)) => assert_eq!(message, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_breaks_the_extension_ends_the_connection() {
    for (bytes, code) in [
        // No deflate stream.
        (frame(0xc1, b"\xff\xff\xff\xff"), 1002),
        // Cut short: in the middle of a block, and where the end of a block is missing.
        (frame(0xc1, b"\xf2\x48\xcd\xc9"), 1002),
        (frame(0xc1, b"\x00\x05\x00\xfa\xffHello"), 1002),
        // Compressed control and continuation frames (RFC 7692, section 6.1).
        (frame(0xc9, b"?"), 1002),
        ([frame(0x01, b"a"), frame(0xc0, b"b")].concat(), 1002),
        // Text that is none, once it is decompressed.
        (
            frame(
                0xc1,
                &deflate(&mut Compress::new(Compression::fast(), false), b"\xc3\x28"),
            ),
            1007,
        ),
    ] {
        let (connection, mut tcp) = agreed(offering(Deflate::new()), "permessage-deflate").await;
        tcp.write_all(&bytes).await.unwrap();
        let (messages, down) = to_the_end(connection).await;
        assert!(messages.is_empty());
        assert_eq!(down.cause.kind(), FailureKind::Protocol, "{bytes:x?}: {}", down.cause);
        assert_eq!(code_of(&bounded(read_frame(&mut tcp)).await), code, "{bytes:x?}");
    }
}

#[tokio::test]
async fn what_was_offered_and_what_was_agreed() {
    const OFFER: &str = "permessage-deflate; client_max_window_bits";
    for (deflate, offer, answer, fine) in [
        (
            Deflate::new(),
            OFFER,
            "permessage-deflate; client_max_window_bits=12",
            true,
        ),
        (
            Deflate::new(),
            OFFER,
            "permessage-deflate; server_max_window_bits=12",
            true,
        ),
        (
            Deflate::new(),
            OFFER,
            "permessage-deflate; client_max_window_bits=7",
            false,
        ),
        (Deflate::new(), OFFER, "x-other", false),
        (
            Deflate::new().no_context_takeover(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            "permessage-deflate",
            false,
        ),
    ] {
        let (listener, url) = listen().await;
        let accept = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let offered = answer_upgrade(&mut tcp, answer).await;
            assert_eq!(offered.as_deref(), Some(offer));
            tcp
        };
        let (dialled, _tcp) = tokio::join!(dial(offering(deflate), &url), accept);
        match dialled {
            Ok(mut connection) => {
                assert!(fine, "{answer}");
                let Some(Event::Up(up)) = connection.next().await else {
                    panic!("up comes first");
                };
                let handshake = up.extensions.get::<Handshake>().unwrap();
                assert_eq!(handshake.headers()["sec-websocket-extensions"], answer);
                assert!(up.extensions.get::<Progress>().is_some());
            }
            Err(error) => {
                assert!(!fine, "{answer}: {error:?}");
                assert!(matches!(error, UpgradeError::Answer(_)), "{error:?}");
                assert_eq!(error.failure().kind(), FailureKind::Handshake);
                assert_eq!(error.failure().disposition(), Disposition::Backoff);
            }
        }
    }
}

#[tokio::test]
async fn without_an_offer_there_is_none_to_choose() {
    let (listener, url) = listen().await;
    let accept = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        assert_eq!(answer_upgrade(&mut tcp, "permessage-deflate").await, None);
        tcp
    };
    let layer = TransportLayer::new().framing(Sockudo::new());
    let (dialled, _tcp) = tokio::join!(dial(layer, &url), accept);
    assert!(matches!(dialled.map(drop).unwrap_err(), UpgradeError::Answer(_)));
}
