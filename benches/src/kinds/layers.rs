//! What each layer costs a call: the client over the transport, with one layer between.

use std::convert::Infallible;

use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::ack::{AckLayer, JsonRpc};
use tower_ws::auth::{AuthLayer, Credentials};
use tower_ws::client::ClientLayer;
use tower_ws::connector::connector;
use tower_ws::health::HealthLayer;
use tower_ws::metrics::MetricsLayer;
use tower_ws::queue::QueueLayer;
use tower_ws::rate_limit::{Quota, RateLimitLayer};
use tower_ws::reconnect::ReconnectLayer;
use tower_ws::transport::{JsonText, TransportLayer};

use super::tower_ws_rpc::NO_LIMIT;
use crate::drive::calls;
use crate::kind::Kind;

/// The kind `layer-…`, with this layer.
macro_rules! layer {
    ($name:literal, $layer:expr) => {
        Kind {
            name: concat!("layer-", $name),
            threads: 1,
            run: |target, meter| {
                Box::pin(async move {
                    let (client, _inbound) = ServiceBuilder::new()
                        .layer(ClientLayer::new(JsonText))
                        .layer($layer)
                        .layer(TransportLayer::new())
                        .service(connector())
                        .oneshot(http::Request::get(format!("ws://{}/rpc", target.address)).body(())?)
                        .await?;
                    let mut tasks = JoinSet::<Result<Infallible, _>>::new();
                    calls::spawn(&mut tasks, &client, &target, &meter);
                    calls::first_failure(tasks).await
                })
            },
        }
    };
}

pub(crate) const ALL: &[Kind] = &[
    layer!("ack", AckLayer::new(JsonRpc::new(JsonText))),
    layer!(
        "auth",
        AuthLayer::bearer(Credentials::fixed("a secret")).allow_plaintext()
    ),
    layer!("health", HealthLayer::new()),
    layer!("metrics", MetricsLayer::session()),
    layer!("queue", QueueLayer::new()),
    layer!(
        "rate-limit",
        RateLimitLayer::new()
            .messages(Quota::per_second(NO_LIMIT))
            .inbound(Quota::per_second(NO_LIMIT))
    ),
    layer!("reconnect", ReconnectLayer::new()),
];
