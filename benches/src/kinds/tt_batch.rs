//! tokio-tungstenite, tuned: feeds what the window allows and flushes once.

use std::convert::Infallible;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::drive::echo::{Codec, batched};
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "tt-batch",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let socket = tuned::connect(&target, "/echo", 16 * 1024).await?;
    batched(socket, Tungstenite, target, meter).await
}

struct Tungstenite;

impl Codec<WebSocketStream<TcpStream>> for Tungstenite {
    type Message = Message;

    fn wrap(&self, payload: Bytes) -> Message {
        Message::Binary(payload)
    }

    fn unwrap(&self, item: Result<Message, tungstenite::Error>) -> Result<Option<Bytes>, BoxError> {
        match item? {
            Message::Binary(payload) => Ok(Some(payload)),
            other => Err(format!("an unexpected message: {other:?}").into()),
        }
    }
}
