//! The laws that every layer keeps.

use std::{num::NonZeroU32, time::Duration};

use http::Request;
use tower::ServiceBuilder;
use tower_ws_reconnect::{Budget, FailoverLayer, ReconnectLayer, Targets};
use tower_ws_test_kit::conformance::Suite;

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    Suite::layer(ReconnectLayer::new().seed(1)).redials().run().await;
}

#[tokio::test(start_paused = true)]
async fn failover_keeps_the_laws() {
    let single = ServiceBuilder::new().map_request(|request: Request<()>| Targets::new(request, []));
    Suite::layer(single.layer(FailoverLayer::new())).run().await;
}

#[tokio::test(start_paused = true)]
async fn both_together_keep_the_laws() {
    let budget = Budget::new(NonZeroU32::MIN, Duration::from_millis(1));
    let stack = ServiceBuilder::new()
        .map_request(|request: Request<()>| Targets::new(request.clone(), [request]))
        .layer(ReconnectLayer::new().seed(1).budget(budget))
        .layer(FailoverLayer::new());
    Suite::layer(stack).redials().run().await;
}
