//! alloy's pubsub client over its WebSocket transport.
//!
//! Best settings: it tries for ever instead of ten times, at most every second at first, and pings after 3 s; the
//! channel of a subscription has room for 16,384 instead of 16; and the connector, which is a trait, fetches a token
//! for each dial.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_pubsub::{ConnectionHandle, PubSubConnect};
use alloy_rpc_client::RpcClient;
use alloy_transport::{Authorization, TransportResult};
use alloy_transport_ws::WsConnect;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::report::{Pushes, say};
use super::{Orders, Outcome};
use crate::work::{Event, Work};
use crate::{BoxError, Settings};

pub(super) async fn run(orders: Orders) -> Result<(), BoxError> {
    let mut connect = WsConnect::new(&orders.url);
    if orders.settings == Settings::Best {
        let (second, three) = (Duration::from_secs(1), Duration::from_secs(3));
        connect = connect
            .with_max_retries(u32::MAX)
            .with_retry_interval(second)
            .with_keepalive_interval(three);
    }
    let connected = match (orders.work.token, orders.settings) {
        (false, _) => RpcClient::connect_pubsub(connect).await,
        (true, Settings::Defaults) => {
            RpcClient::connect_pubsub(connect.with_auth(Authorization::bearer("token-1"))).await
        }
        (true, Settings::Best) => {
            RpcClient::connect_pubsub(Renewing {
                connect,
                asked: AtomicU64::new(0),
            })
            .await
        }
    };
    let client = connected?;
    say(&Event::Up);
    if orders.settings == Settings::Best {
        client.set_channel_size(16_384);
    }
    if orders.work.pushes {
        subscribe(&client, orders.work).await?;
    }
    super::work(Client(client), orders.work).await;
    Ok(())
}

async fn subscribe(client: &RpcClient, work: Work) -> Result<(), BoxError> {
    let mut request = client.request::<_, Value>("eth_subscribe", ["newHeads"]);
    request.set_is_subscription();
    let id = request
        .map_resp(|id| serde_json::from_value(id).unwrap_or_default())
        .await?;
    let mut subscription = client.get_subscription::<(u64, Value)>(id).await;
    let pushes = Pushes::new(work.handling_ms);
    tokio::spawn(async move {
        loop {
            match subscription.recv().await {
                Ok((n, _)) => pushes.came(n).await,
                Err(RecvError::Lagged(missed)) => pushes.missed(missed),
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(())
}

#[derive(Debug)]
struct Renewing {
    connect: WsConnect,
    asked: AtomicU64,
}

impl PubSubConnect for Renewing {
    fn is_local(&self) -> bool {
        self.connect.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        say(&Event::Asked);
        let token = format!("token-{}", self.asked.fetch_add(1, Ordering::Relaxed) + 1);
        self.connect
            .clone()
            .with_auth(Authorization::bearer(token))
            .connect()
            .await
    }
}

#[derive(Clone)]
struct Client(RpcClient);

impl super::Client for Client {
    async fn call(&self, n: u64, pad: String, _safe: bool) -> Outcome {
        self.0.request::<_, u64>("apply", (n, pad)).await.into()
    }

    /// It has calls only: one is made, and nobody waits for it.
    async fn feed(&self, n: u64, pad: String) -> Result<(), String> {
        tokio::spawn(self.0.request::<_, u64>("apply", (n, pad)));
        Ok(())
    }
}
