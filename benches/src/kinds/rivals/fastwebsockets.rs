//! fastwebsockets, echo. It buffers nothing itself: over a buffer for what it writes, it answers half
//! a window at once.

use std::convert::Infallible;

use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use tokio::io::BufWriter;

use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "fastwebsockets",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

const WRITE_BUFFER: usize = 64 * 1024;

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let stream = BufWriter::with_capacity(WRITE_BUFFER, tuned::upgraded(&target, "/echo").await?);
    let mut socket = WebSocket::after_handshake(stream, Role::Client);
    let (mut sent, mut received) = (0, 0);
    loop {
        while sent - received < target.window {
            // It masks in place, so it has to have a copy.
            let payload = target.payloads.bytes(sent).to_vec();
            socket.write_frame(Frame::binary(Payload::Owned(payload))).await?;
            sent += 1;
        }
        socket.flush().await?;
        for _ in 0..target.window.div_ceil(2) {
            let frame = socket.read_frame().await?;
            if frame.opcode != OpCode::Binary {
                return Err(format!("an unexpected frame: {:?}", frame.opcode).into());
            }
            target.payloads.check(received, &frame.payload)?;
            received += 1;
            meter.add(1);
        }
    }
}
