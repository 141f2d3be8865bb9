//! The laws of a connection, alone and over reconnect.

use tower::layer::util::Stack;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_subscribe::{JsonRpc, SubscribeLayer};
use tower_ws_test_kit::conformance::{Outcome, Suite};
use tower_ws_transport::JsonText;

fn layer() -> SubscribeLayer<JsonRpc<JsonText>, String> {
    SubscribeLayer::new(JsonRpc::ethereum(JsonText))
}

#[tokio::test(start_paused = true)]
async fn what_begins_nothing_passes_as_if_there_were_no_layer() {
    let report = Suite::layer(layer()).run().await;
    for law in ["wrapping_is_transparent", "control_is_passed_on_at_once"] {
        assert_eq!(report.of(law), Some(Outcome::Held), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_reconnect() {
    let stack = Stack::new(ReconnectLayer::new().seed(1), layer());
    let report = Suite::layer(stack).redials().run().await;
    for law in ["not_ready_before_up_is_read", "control_without_a_connection_comes_back"] {
        assert_eq!(report.of(law), Some(Outcome::Held), "{report}");
    }
}
