//! tower-ws, by its recommended stack.
//!
//! Best settings: a ping after 10 s, and 10 s for the answer; and pushes wait for an application that is slower than
//! they are, rather than that the oldest go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tower_ws::auth::{Credential, Credentials};
use tower_ws::client::Lag;
use tower_ws::core::Replay;
use tower_ws::health::HealthLayer;
use tower_ws::{Inbound, Incoming, Request};

use super::report::{Pushes, say};
use super::{Orders, Outcome};
use crate::work::Event;
use crate::{BoxError, Settings};

pub(super) async fn run(orders: Orders) -> Result<(), BoxError> {
    let mut builder = tower_ws::builder(&orders.url);
    if orders.settings == Settings::Best {
        let ten = Duration::from_secs(10);
        builder = builder
            .health(HealthLayer::new().interval(ten).timeout(ten))
            .inbound(256, Lag::Wait);
    }
    if orders.work.token {
        let asked = AtomicU64::new(0);
        builder = builder.bearer(Credentials::new(move || {
            say(&Event::Asked);
            let token = format!("token-{}", asked.fetch_add(1, Ordering::Relaxed) + 1);
            async { Ok(Credential::new(token)) }
        }));
    }
    let (client, inbound) = builder.connect().await?;
    tokio::spawn(listen(inbound, Pushes::new(orders.work.handling_ms)));
    super::work(Client(client), orders.work).await;
    Ok(())
}

#[derive(Deserialize)]
struct Push {
    n: u64,
}

async fn listen(mut inbound: Inbound, pushes: Pushes) {
    while let Some(item) = inbound.next().await {
        match item {
            Incoming::Up(_) => say(&Event::Up),
            Incoming::Down(down) => {
                let why = down.cause.to_string();
                say(&if down.will_retry {
                    Event::Down { why }
                } else {
                    Event::Over { why }
                });
            }
            Incoming::Notification(push) => {
                if let Ok(Push { n }) = push.params() {
                    pushes.came(n).await;
                }
            }
            Incoming::Gap { missed } => pushes.missed(missed),
            _ => {}
        }
    }
}

#[derive(Clone)]
struct Client(tower_ws::Client);

impl super::Client for Client {
    async fn call(&self, n: u64, pad: String, safe: bool) -> Outcome {
        let replay = if safe { Replay::Safe } else { Replay::Unknown };
        match Request::new("apply").params(&(n, pad)) {
            Ok(request) => self
                .0
                .send(request.replay(replay))
                .await
                .and_then(|reply| reply.result::<u64>())
                .into(),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn feed(&self, n: u64, pad: String) -> Result<(), String> {
        let request = Request::new("apply")
            .params(&(n, pad))
            .map_err(|error| error.to_string())?;
        self.0.notify(request).await.map_err(|error| error.to_string())
    }
}
