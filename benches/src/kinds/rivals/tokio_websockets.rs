//! tokio-websockets, echo: driven as `tt-batch` is.

use std::convert::Infallible;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Error, Message, WebSocketStream};

use crate::drive::echo::{Codec, batched};
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "tokio-websockets",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let socket = ClientBuilder::new().take_over(tuned::upgraded(&target, "/echo").await?);
    batched(socket, TokioWebsockets, target, meter).await
}

struct TokioWebsockets;

impl Codec<WebSocketStream<TcpStream>> for TokioWebsockets {
    type Message = Message;

    fn wrap(&self, payload: Bytes) -> Message {
        Message::binary(payload)
    }

    fn unwrap(&self, item: Result<Message, Error>) -> Result<Option<Bytes>, BoxError> {
        let message = item?;
        match message.is_binary() {
            true => Ok(Some(message.into_payload().into())),
            false => Err(format!("an unexpected message: {message:?}").into()),
        }
    }
}
