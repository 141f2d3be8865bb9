//! The laws that every layer keeps, for the queue alone and over a layer that redials.

use std::time::Duration;

use tower::layer::util::Stack;
use tower_ws_queue::{Overflow, QueueLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::conformance::{Outcome, Suite};

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    let report = Suite::layer(QueueLayer::new()).holds_messages().run().await;
    assert_eq!(
        report.of("control_is_passed_on_at_once"),
        Some(Outcome::Held),
        "{report}"
    );
    assert_eq!(report.of("a_flush_reaches_below"), Some(Outcome::Held), "{report}");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_with_room_for_three() {
    Suite::layer(QueueLayer::new().messages(3)).holds_messages().run().await;
}

#[tokio::test(start_paused = true)]
async fn every_message_ends_once_whatever_there_is_no_room_for() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest] {
        let layer = QueueLayer::new().messages(4).overflow(overflow).drain(Duration::ZERO);
        Suite::layer(layer).holds_messages().every_message_ends_once().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_over_a_reconnect() {
    for messages in [3, QueueLayer::<()>::MESSAGES] {
        let queue = QueueLayer::new().messages(messages);
        let report = Suite::layer(Stack::new(ReconnectLayer::new().seed(1), queue))
            .redials()
            .holds_messages()
            .run()
            .await;
        assert_eq!(
            report.of("control_without_a_connection_comes_back"),
            Some(Outcome::Held),
            "{report}"
        );
    }
}
