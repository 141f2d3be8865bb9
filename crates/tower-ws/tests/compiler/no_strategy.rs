//! Acknowledgements by something that knows of none.
//~ does not say what acknowledges a message of type `tower_ws::Message`
//~ use `JsonRpc`, `Sequence` or `Bare`, with the codec that the messages travel in
use tower_ws::prelude::*;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(AckLayer::new(JsonText))
        .layer(TransportLayer::new())
        .service(connector());
    let _ = tower_ws::tower::ServiceExt::oneshot(stack, tower_ws::http::Request::new(()));
}
