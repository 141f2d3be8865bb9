//! jsonrpsee's WebSocket client.
//!
//! Best settings: pings each 10 s, the connection given up when nothing came for 20 s, and room for 16,384 pushes
//! instead of 1,024.

use std::sync::Arc;
use std::time::Duration;

use jsonrpsee_core::client::async_client::PingConfig;
use jsonrpsee_core::client::{ClientT, Subscription, SubscriptionClientT};
use jsonrpsee_core::rpc_params;
use jsonrpsee_ws_client::{HeaderMap, HeaderValue, WsClient, WsClientBuilder};
use serde::Deserialize;

use super::report::{Pushes, say};
use super::{Orders, Outcome};
use crate::work::Event;
use crate::{BoxError, Settings};

pub(super) async fn run(orders: Orders) -> Result<(), BoxError> {
    let mut builder = WsClientBuilder::default();
    if orders.settings == Settings::Best {
        let (ten, twenty) = (Duration::from_secs(10), Duration::from_secs(20));
        builder = builder
            .enable_ws_ping(
                PingConfig::new()
                    .ping_interval(ten)
                    .inactive_limit(twenty)
                    .max_failures(1),
            )
            .max_buffer_capacity_per_subscription(16_384);
    }
    if orders.work.token {
        let bearer = HeaderValue::from_static("Bearer token-1");
        builder = builder.set_headers(HeaderMap::from_iter([("authorization".parse()?, bearer)]));
    }
    let client = Arc::new(builder.build(&orders.url).await?);
    say(&Event::Up);
    let watched = client.clone();
    tokio::spawn(async move {
        let why = watched.on_disconnect().await.to_string();
        say(&Event::Over { why });
    });
    if orders.work.pushes {
        let subscription = client.subscribe_to_method::<Push>("push").await?;
        tokio::spawn(listen(subscription, Pushes::new(orders.work.handling_ms)));
    }
    super::work(Client(client), orders.work).await;
    Ok(())
}

#[derive(Deserialize)]
struct Push {
    n: u64,
}

async fn listen(mut subscription: Subscription<Push>, pushes: Pushes) {
    while let Some(push) = subscription.next().await {
        if let Ok(Push { n }) = push {
            pushes.came(n).await;
        }
    }
    // The subscription has ended, and says so; how many are missing it does not.
    pushes.missed(1);
}

#[derive(Clone)]
struct Client(Arc<WsClient>);

impl super::Client for Client {
    async fn call(&self, n: u64, pad: String, _safe: bool) -> Outcome {
        self.0.request::<u64, _>("apply", rpc_params![n, pad]).await.into()
    }

    async fn feed(&self, n: u64, pad: String) -> Result<(), String> {
        self.0
            .notification("apply", rpc_params![n, pad])
            .await
            .map_err(|error| error.to_string())
    }
}
