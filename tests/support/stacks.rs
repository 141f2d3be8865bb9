//! The stacks that the contract holds for, each over a server's door.

use fastrand::Rng;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt, service_fn, util::MapResponseLayer};
use tower_ws::{
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    core::{OpeningLayer, boxed, jsonrpc::Ids},
    metrics::MetricsLayer,
    queue::QueueLayer,
    reconnect::ReconnectLayer,
    transport::{JsonText, lines::LinesLayer, memory},
};

use crate::{
    session::Connecting,
    support::{
        SECOND,
        peer::{Door, hello, pipe},
    },
};

/// Puts a stack together over a server's door.
pub(crate) type Build = fn(ClientLayer<JsonText>, ReconnectLayer, &mut Rng) -> (Door, Connecting);

pub(crate) fn plain(client: ClientLayer<JsonText>, reconnect: ReconnectLayer, rng: &mut Rng) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new().layer(client).layer(reconnect).service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn without_reconnect(client: ClientLayer<JsonText>, _: ReconnectLayer, rng: &mut Rng) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new().layer(client).service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_boxes(
    client: ClientLayer<JsonText>,
    reconnect: ReconnectLayer,
    rng: &mut Rng,
) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(MapResponseLayer::new(boxed))
        .layer(reconnect)
        .layer(MapResponseLayer::new(boxed))
        .service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_opening(
    client: ClientLayer<JsonText>,
    reconnect: ReconnectLayer,
    rng: &mut Rng,
) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let ids = Ids::new();
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(reconnect)
        .layer(OpeningLayer::new("hello", move |talk| hello(talk, ids.clone())).timeout(2 * SECOND))
        .service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_lines(client: ClientLayer<JsonText>, reconnect: ReconnectLayer, _: &mut Rng) -> (Door, Connecting) {
    let (ask, dials) = mpsc::unbounded_channel();
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(reconnect)
        .layer(LinesLayer::new())
        .service(service_fn(move |()| pipe(ask.clone())));
    (Door::Lines(dials), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_queue(
    client: ClientLayer<JsonText>,
    reconnect: ReconnectLayer,
    rng: &mut Rng,
) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(QueueLayer::new().messages(rng.usize(1..60)))
        .layer(reconnect)
        .service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_ack(client: ClientLayer<JsonText>, reconnect: ReconnectLayer, rng: &mut Rng) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(
            AckLayer::new(JsonRpc::new(JsonText))
                .window(rng.usize(1..60), 1 << 20)
                .suspicions(u32::MAX),
        )
        .layer(reconnect)
        .service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}

pub(crate) fn with_all(client: ClientLayer<JsonText>, reconnect: ReconnectLayer, rng: &mut Rng) -> (Door, Connecting) {
    let (memory, listener) = memory::channel(rng.usize(1..20));
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(MetricsLayer::session())
        .layer(QueueLayer::new().messages(rng.usize(1..60)))
        .layer(
            AckLayer::new(JsonRpc::new(JsonText))
                .window(rng.usize(1..60), 1 << 20)
                .suspicions(u32::MAX),
        )
        .layer(reconnect)
        .layer(MetricsLayer::connection())
        .service(memory);
    (Door::Memory(listener), Box::pin(stack.oneshot(())))
}
