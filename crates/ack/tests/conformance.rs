//! The laws of a connection, alone and over reconnect.

use tower::layer::util::Stack;
use tower_ws_ack::{AckLayer, Bare};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::conformance::{Outcome, Suite};

type Number = fn(&String) -> Option<u64>;

/// Every message of the suite awaits, and the peer never acknowledges.
fn all() -> Bare<Number, Number> {
    Bare::new(|sent| sent.split(' ').next()?.parse().ok(), |_| None)
}

#[tokio::test(start_paused = true)]
async fn what_awaits_nothing_passes_as_if_there_were_no_layer() {
    let none: Bare<Number, Number> = Bare::new(|_| None, |_| None);
    let report = Suite::layer(AckLayer::new(none)).run().await;
    assert_eq!(report.of("wrapping_is_transparent"), Some(Outcome::Held), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept() {
    let report = Suite::layer(AckLayer::new(all())).holds_messages().run().await;
    assert_eq!(
        report.of("control_is_passed_on_at_once"),
        Some(Outcome::Held),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_small_window() {
    let layer = AckLayer::new(all())
        .window(200, usize::MAX)
        .timeout(std::time::Duration::from_secs(2));
    Suite::layer(layer).holds_messages().run().await;
}

#[tokio::test(start_paused = true)]
async fn over_reconnect_with_nothing_safe() {
    let stack = Stack::new(ReconnectLayer::new().seed(1), AckLayer::new(all()));
    let report = Suite::layer(stack).redials().holds_messages().run().await;
    assert_eq!(
        report.of("control_without_a_connection_comes_back"),
        Some(Outcome::Held),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn over_reconnect_with_everything_safe() {
    let stack = Stack::new(ReconnectLayer::new().seed(2), AckLayer::new(all().all_safe()));
    Suite::layer(stack).redials().holds_messages().run().await;
}

#[tokio::test(start_paused = true)]
async fn over_reconnect_what_awaits_nothing_waits_as_if_there_were_no_layer() {
    let none: Bare<Number, Number> = Bare::new(|_| None, |_| None);
    let stack = Stack::new(ReconnectLayer::new().seed(3), AckLayer::new(none));
    let report = Suite::layer(stack).redials().run().await;
    assert_eq!(
        report.of("not_ready_before_up_is_read"),
        Some(Outcome::Held),
        "{report}"
    );
}
