//! The laws that every layer keeps.

use tower_ws_health::{HealthLayer, probe_fn};
use tower_ws_test_kit::{
    Message,
    conformance::{Numbering, Suite},
};

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    let probe = probe_fn(
        |nonce| format!("PING {nonce}"),
        |message: &String| message.strip_prefix("PONG ")?.parse().ok(),
    );
    Suite::layer(HealthLayer::new().probe(probe)).run().await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_with_frames() {
    Suite::layer_of(HealthLayer::new(), Numbering::<Message>::default())
        .run()
        .await;
}
