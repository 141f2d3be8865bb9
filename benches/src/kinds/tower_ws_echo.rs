//! tower-ws without its client: the connection plane, driven as tokio-tungstenite is.

use std::convert::Infallible;

use bytes::Bytes;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::auth::{AuthLayer, Credentials};
use tower_ws::connector::connector;
use tower_ws::core::{Connection, Event, Outgoing};
use tower_ws::health::HealthLayer;
use tower_ws::metrics::MetricsLayer;
use tower_ws::queue::QueueLayer;
use tower_ws::rate_limit::{Quota, RateLimitLayer};
use tower_ws::reconnect::ReconnectLayer;
use tower_ws::transport::sockudo::Sockudo;
use tower_ws::transport::{Framing, Message, TransportLayer, Tungstenite};

use super::tower_ws_rpc::NO_LIMIT;
use crate::BoxError;
use crate::drive::echo::{Codec, batched};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

/// Reconnect over the transport.
pub(crate) const KIND: Kind = Kind {
    name: "tower-ws-echo",
    threads: 1,
    run: |target, meter| Box::pin(run(Tungstenite, target, meter)),
};

/// The same with the other framing, uncompressed.
pub(crate) const SOCKUDO: Kind = Kind {
    name: "tower-ws-sockudo",
    threads: 1,
    run: |target, meter| Box::pin(run(Sockudo::new(), target, meter)),
};

/// All layers but ack: an echo acknowledges nothing.
pub(crate) const PLANE: Kind = Kind {
    name: "tower-ws-plane",
    threads: 1,
    run: |target, meter| Box::pin(plane(target, meter)),
};

fn request(target: &Target) -> Result<http::Request<()>, BoxError> {
    Ok(http::Request::get(format!("ws://{}/echo", target.address)).body(())?)
}

async fn run<F>(framing: F, target: Target, meter: Meter) -> Result<Infallible, BoxError>
where
    F: Framing + Clone + Send + Sync + 'static,
{
    let connection = ServiceBuilder::new()
        .layer(ReconnectLayer::new().fail_fast())
        .layer(TransportLayer::new().framing(framing))
        .service(connector())
        .oneshot(request(&target)?)
        .await?;
    drive(connection, target, meter).await
}

async fn plane(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let connection = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(QueueLayer::new())
        .layer(ReconnectLayer::new().fail_fast())
        .layer(MetricsLayer::connection())
        .layer(RateLimitLayer::new().messages(Quota::per_second(NO_LIMIT)))
        .layer(HealthLayer::new())
        .layer(AuthLayer::bearer(Credentials::fixed("a secret")).allow_plaintext())
        .layer(TransportLayer::new())
        .service(connector())
        .oneshot(request(&target)?)
        .await?;
    drive(connection, target, meter).await
}

async fn drive<C>(connection: C, target: Target, meter: Meter) -> Result<Infallible, BoxError>
where
    C: Connection<Message = Message>,
{
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
