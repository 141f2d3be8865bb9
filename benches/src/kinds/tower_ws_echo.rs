//! tower-ws without its client: the connection plane, driven as tokio-tungstenite is.

use std::convert::Infallible;

use bytes::Bytes;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::connector::connector;
use tower_ws::core::{Event, Outgoing};
use tower_ws::reconnect::ReconnectLayer;
use tower_ws::transport::sockudo::Sockudo;
use tower_ws::transport::{Framing, Message, TransportLayer, Tungstenite};

use crate::BoxError;
use crate::drive::echo::{Codec, batched};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

pub(crate) const KIND: Kind = Kind {
    name: "tower-ws-echo",
    run: |target, meter| Box::pin(run(Tungstenite, target, meter)),
};

/// The same with the other framing, uncompressed.
pub(crate) const SOCKUDO: Kind = Kind {
    name: "tower-ws-sockudo",
    run: |target, meter| Box::pin(run(Sockudo::new(), target, meter)),
};

async fn run<F>(framing: F, target: Target, meter: Meter) -> Result<Infallible, BoxError>
where
    F: Framing + Clone + Send + Sync + 'static,
{
    let request = http::Request::get(format!("ws://{}/echo", target.address)).body(())?;
    let connection = ServiceBuilder::new()
        .layer(ReconnectLayer::new().fail_fast())
        .layer(TransportLayer::new().framing(framing))
        .service(connector())
        .oneshot(request)
        .await?;
    let mut connection = Box::pin(connection);
    // `Up` comes first, and nothing is ready before it has been read.
    futures_util::StreamExt::next(&mut connection).await;
    batched(connection, Events, target, meter).await
}

struct Events;

impl<S> Codec<S> for Events
where
    S: futures_core::Stream<Item = Event<Message>>,
{
    type Message = Outgoing<Message>;

    fn wrap(&self, payload: Bytes) -> Outgoing<Message> {
        Outgoing::new(Message::binary(payload))
    }

    fn unwrap(&self, event: Event<Message>) -> Result<Option<Bytes>, BoxError> {
        match event {
            Event::Message(message) if message.is_data() => Ok(Some(message.into_bytes())),
            other => Err(format!("an unexpected event: {other:?}").into()),
        }
    }
}
