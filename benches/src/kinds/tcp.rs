//! Raw TCP: the same bytes, neither framed nor masked nor parsed. No WebSocket costs less.

use std::convert::Infallible;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::server::frame;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "tcp",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

/// A client may mask with anything, so these bytes can go out as they stand.
const MASK: [u8; 4] = [0; 4];
/// What one read asks for, at least.
const CHUNK: usize = 64 * 1024;

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let mut stream = tuned::upgraded(&target, "/echo").await?;
    let (mut read, mut write) = stream.split();
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let (mut sent, mut received) = (0, 0);
    let mut frame = Vec::new();
    loop {
        while sent - received < target.window {
            frame.clear();
            frame::put_masked(&mut frame, target.payloads.text(sent).as_bytes(), MASK);
            output.extend_from_slice(&frame);
            sent += 1;
        }
        input.reserve(CHUNK);
        // Both ways at once: one that is only written to would make the peer store everything.
        tokio::select! {
            written = write.write_buf(&mut output), if output.has_remaining() => { written?; }
            got = read.read_buf(&mut input) => if got? == 0 {
                return Err("the connection ended".into());
            },
        }
        let before = received;
        // The answer is shorter than the frame by its mask.
        let length = frame.len() - MASK.len();
        while input.len() >= length {
            let reply = input.split_to(length);
            let payload = length - target.payloads.text(received).len();
            target.payloads.check(received, &reply[payload..])?;
            received += 1;
        }
        if received > before {
            meter.add(received - before);
        }
    }
}
