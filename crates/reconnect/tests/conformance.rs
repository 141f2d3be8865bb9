//! The laws that every layer keeps.

use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test::conformance::Suite;

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    Suite::layer(ReconnectLayer::new().seed(1)).redials().run().await;
}
