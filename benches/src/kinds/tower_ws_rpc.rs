//! tower-ws, calls: the recommended stack with its defaults, less than it, and more.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::ack::{AckLayer, JsonRpc};
use tower_ws::auth::{AuthLayer, Credentials};
use tower_ws::client::ClientLayer;
use tower_ws::connector::connector;
use tower_ws::health::HealthLayer;
use tower_ws::mcp::{Implementation, Mcp};
use tower_ws::metrics::MetricsLayer;
use tower_ws::queue::QueueLayer;
use tower_ws::rate_limit::{Quota, RateLimitLayer};
use tower_ws::reconnect::ReconnectLayer;
use tower_ws::transport::{JsonText, TransportLayer};
use tower_ws::{Client, Request};

use crate::BoxError;
use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

/// `tower_ws::connect`.
pub(crate) const KIND: Kind = Kind {
    name: "tower-ws-rpc",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

/// On two threads, which share the client.
pub(crate) const THREADS: Kind = KIND.threaded("tower-ws-rpc-threads");

/// The same, and the result is looked at where it lies.
pub(crate) const BORROWED: Kind = Kind {
    name: "tower-ws-borrowed",
    threads: 1,
    run: |target, meter| Box::pin(borrowed(target, meter)),
};

/// The client over the transport, with nothing between.
pub(crate) const LEAN: Kind = Kind {
    name: "tower-ws-lean",
    threads: 1,
    run: |target, meter| Box::pin(lean(target, meter)),
};

/// The recommended stack with a rate limit and credentials: all eight concerns.
pub(crate) const FULL: Kind = Kind {
    name: "tower-ws-full",
    threads: 1,
    run: |target, meter| Box::pin(full(target, meter)),
};

/// `tower_ws::mcp::connect` and `call_tool`.
pub(crate) const MCP: Kind = Kind {
    name: "tower-ws-mcp",
    threads: 1,
    run: |target, meter| Box::pin(mcp(target, meter)),
};

/// More than any client sends: the limit is there, and nobody waits for it.
pub(crate) const NO_LIMIT: NonZeroU32 = NonZeroU32::MAX;

fn url(target: &Target, path: &str) -> String {
    format!("ws://{}/{path}", target.address)
}

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let (client, _inbound) = tower_ws::connect(url(&target, "rpc")).await?;
    drive(client, &target, &meter).await
}

async fn borrowed(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let (client, _inbound) = tower_ws::connect(url(&target, "rpc")).await?;
    let mut tasks = JoinSet::new();
    for first in 0..target.window {
        tasks.spawn(borrower(client.clone(), target.clone(), meter.clone(), first));
    }
    calls::first_failure(tasks).await
}

async fn borrower(client: Client, target: Target, meter: Meter, first: u64) -> Result<Infallible, BoxError> {
    for nth in first.. {
        let request = Request::new("echo").params(&[target.payloads.text(nth)])?;
        let reply = client.send(request).await?;
        let result = reply.raw_result()?.get().as_bytes();
        // Without its quotes: there is nothing in it that would be escaped.
        target.payloads.check(nth, &result[1..result.len() - 1])?;
        meter.add(1);
    }
    Err("the numbers have come to an end".into())
}

async fn lean(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let (client, _inbound) = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(TransportLayer::new())
        .service(connector())
        .oneshot(http::Request::get(url(&target, "rpc")).body(())?)
        .await?;
    drive(client, &target, &meter).await
}

async fn full(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let limit = RateLimitLayer::new()
        .messages(Quota::per_second(NO_LIMIT))
        .inbound(Quota::per_second(NO_LIMIT));
    let (client, _inbound) = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(MetricsLayer::session())
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(ReconnectLayer::new())
        .layer(MetricsLayer::connection())
        .layer(limit)
        .layer(HealthLayer::new())
        .layer(AuthLayer::bearer(Credentials::fixed("a secret")).allow_plaintext())
        .layer(TransportLayer::new())
        .service(connector())
        .oneshot(http::Request::get(url(&target, "rpc")).body(())?)
        .await?;
    drive(client, &target, &meter).await
}

async fn mcp(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let us = Implementation::new("tower-ws-benches", "1");
    let (mcp, _inbound) = tower_ws::mcp::connect(url(&target, "mcp"), us).await?;
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, &Arc::new(mcp), &target, &meter);
    calls::first_failure(tasks).await
}

async fn drive(client: Client, target: &Target, meter: &Meter) -> Result<Infallible, BoxError> {
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, &client, target, meter);
    calls::first_failure(tasks).await
}

impl Caller for Client {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        Ok(self.request("echo", &[text]).await?)
    }
}

impl Caller for Arc<Mcp> {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            text: &'a str,
        }
        Ok(self.call_tool("echo", &Arguments { text }).await?.text())
    }
}
