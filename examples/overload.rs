//! What keeps an application responsive: a rate limit towards the server, a circuit that fails calls at once in a
//! long outage, and load shedding when too many calls wait.
//!
//! ```text
//! cargo run --example overload
//! ```

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Request,
    core::BoxError,
    rate_limit::{Quota, RateLimitLayer},
    reconnect::{CircuitLayer, ReconnectLayer, State},
};
use tower_ws_test_kit::{Cut, Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = Server::start(Script::json_rpc()).await?;
    let (reconnect, handle) = ReconnectLayer::pair();
    // The server counts: no more than 50 messages in any second.
    let fifty = NonZeroU32::new(50).expect("is not zero");
    let limit = RateLimitLayer::new().messages(Quota::strict(fifty, Duration::from_secs(1))?);
    let session = tower_ws::builder(server.url()).reconnect(reconnect).rate_limit(limit);
    let (client, _inbound) = session.connect().await?;

    // Stock layers of tower, on the client: at most 20 calls at a time, the rest is refused at once.
    let calls = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(20)
        .layer(CircuitLayer::new(handle.clone()).after(2))
        .service(client);
    let burst = (0..30).map(|n| {
        let request = Request::new("echo").params(&json!([n])).expect("is JSON");
        calls.clone().oneshot(request)
    });
    let done = join_all(burst).await;
    let refused = done.iter().filter(|done| done.is_err()).count();
    println!("of 30 calls at once {refused} were refused, the rest answered");

    server.refuse();
    server.cut(Cut::Rst);
    let mut state = handle.state();
    // Two attempts fail, and the circuit opens.
    state
        .wait_for(|state| matches!(state, State::BackingOff { attempt: 3.., .. }))
        .await?;
    let failed = calls.clone().oneshot(Request::new("echo")).await;
    println!("a call fails at once: {}", failed.expect_err("the circuit is open"));
    Ok(())
}
