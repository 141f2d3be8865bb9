//! The layer of the example `own_layer`: as short as the docs say, and as good as any.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../examples/own_layer.rs"]
mod own_layer;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use own_layer::TapLayer;
use tower::{ServiceBuilder, layer::util::Stack};
use tower_ws::{
    ack::{AckLayer, JsonRpc},
    health::{HealthLayer, probe_fn},
    queue::QueueLayer,
    reconnect::ReconnectLayer,
    transport::JsonText,
};
use tower_ws_test_kit::conformance::{self, Suite};

/// Counts what it is shown.
fn counting() -> (TapLayer<impl Fn(&str, &String) + Clone>, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counter = count.clone();
    let tap = TapLayer(move |_: &str, _: &String| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (tap, count)
}

#[test]
fn it_is_shorter_than_sixty_lines() {
    let text = include_str!("../examples/own_layer.rs");
    let (_, text) = text.split_once("// The layer begins here.").unwrap();
    let (layer, _) = text.split_once("// The layer ends here.").unwrap();
    let lines = layer.lines().filter(|line| !line.trim().is_empty()).count();
    assert!((30..60).contains(&lines), "{lines} lines");
}

#[test]
fn it_runs_as_an_example() {
    own_layer::main().unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    let (tap, count) = counting();
    conformance::layer(tap).await;
    assert!(count.load(Ordering::Relaxed) > 100);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_in_the_middle_of_the_recommended_stack() {
    let (tap, count) = counting();
    let probe = probe_fn(
        |nonce| format!("PING {nonce}"),
        |message: &String| message.strip_prefix("PONG ")?.parse().ok(),
    );
    let stack = ServiceBuilder::new()
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(ReconnectLayer::new().seed(1))
        .layer(tap)
        .layer(HealthLayer::new().probe(probe))
        .into_inner();
    Suite::layer(stack).redials().holds_messages().seeds(0..8).run().await;
    assert!(count.load(Ordering::Relaxed) > 100);
}

#[tokio::test(start_paused = true)]
async fn it_stands_anywhere() {
    let (tap, count) = counting();
    let above = Stack::new(ReconnectLayer::new().seed(1), tap.clone());
    Suite::layer(above).redials().seeds(0..4).run().await;
    let below = Stack::new(tap, ReconnectLayer::new().seed(1));
    Suite::layer(below).redials().seeds(0..4).run().await;
    assert!(count.load(Ordering::Relaxed) > 100);
}
