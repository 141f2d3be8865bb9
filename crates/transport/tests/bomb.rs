//! Few bytes that become very many: what they cost is bounded. In a program of its own, whose
//! memory is its own.
#![cfg(feature = "sockudo")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use flate2::{Compress, Compression, FlushCompress};
use futures_util::StreamExt;
use support::{
    bounded, to_the_end,
    wire::{agreed, code_of, frame, offering, read_frame},
};
use tokio::io::AsyncWriteExt;
use tower_ws_core::{Event, FailureKind};
use tower_ws_transport::{Kind, Limits, sockudo::Deflate};

/// So many MiB of zeros as one compressed message: blocks that each stand for themselves.
fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(64 << 10);
    Compress::new(Compression::best(), false)
        .compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Sync)
        .unwrap();
    let mut message = block.repeat(mebibytes);
    assert!(message.ends_with(&[0, 0, 0xff, 0xff]));
    message.truncate(message.len() - 4);
    message
}

async fn one_bomb() {
    const LIMIT: usize = 1 << 20;
    let bomb = zeros(512);
    assert!(bomb.len() < LIMIT, "{}", bomb.len());
    let (one, two) = bomb.split_at(bomb.len() / 2);
    for frames in [frame(0xc2, &bomb), [frame(0x42, one), frame(0x80, two)].concat()] {
        let layer = offering(Deflate::new()).limits(Limits::default().message_in(LIMIT));
        let (connection, mut tcp) = agreed(layer, "permessage-deflate").await;
        tcp.write_all(&frames).await.unwrap();
        let (messages, down) = to_the_end(connection).await;
        assert!(messages.is_empty());
        assert_eq!(down.cause.kind(), FailureKind::Policy, "{}", down.cause);
        assert!(down.cause.to_string().contains("1048576"), "{}", down.cause);
        assert_eq!(code_of(&bounded(read_frame(&mut tcp)).await), 1009);
    }
}

/// Each of them is within the limit, and all of them fit into one read.
async fn many_messages() {
    const COUNT: usize = 32;
    let large = frame(0x82, &vec![0; 1 << 20]);
    let small = frame(0xc2, &zeros(8)).repeat(COUNT);
    assert!(small.len() < 1 << 20, "{}", small.len());
    let (mut connection, mut tcp) = agreed(offering(Deflate::new()), "permessage-deflate").await;
    let writing = tokio::spawn(async move {
        // The first one makes for a large read buffer.
        tcp.write_all(&[large, small].concat()).await.unwrap();
        tcp
    });
    for at in 0..=COUNT {
        match bounded(connection.next()).await {
            Some(Event::Message(message)) => {
                assert_eq!(message.kind(), Kind::Binary);
                assert_eq!(message.len(), if at == 0 { 1 << 20 } else { 8 << 20 });
            }
            other => panic!("{other:?}"),
        }
    }
    drop(bounded(writing).await.unwrap());
}

#[tokio::test]
async fn what_few_bytes_can_cost_is_bounded() {
    one_bomb().await;
    many_messages().await;
    // Unpacked, it would be 512 MiB and 256 MiB.
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 96 << 10, "{kibibytes} KiB");
    }
}
