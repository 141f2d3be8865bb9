//! tokio-tungstenite with a flush after each message, the way `send` is mostly used; everything
//! else as in `tt-batch`.

use std::convert::Infallible;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "tt-send",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let mut socket = tuned::connect(&target, "/echo", 16 * 1024).await?;
    let (mut sent, mut received) = (0, 0);
    loop {
        while sent - received < target.window {
            socket.send(Message::Binary(target.payloads.bytes(sent))).await?;
            sent += 1;
        }
        match socket.next().await.ok_or("the connection ended")?? {
            Message::Binary(reply) => target.payloads.check(received, &reply)?,
            other => return Err(format!("an unexpected message: {other:?}").into()),
        }
        received += 1;
        meter.add(1);
    }
}
