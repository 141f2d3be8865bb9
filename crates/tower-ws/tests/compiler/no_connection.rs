//! A client over something that gives no connections.
//~ is no connection
//~ `Lift::new` makes a connection of any `Sink + Stream` of messages
use tower_ws::{core::BoxError, prelude::*};

fn main() {
    let page = tower_ws::tower::service_fn(|_: tower_ws::http::Request<()>| async { Ok::<_, BoxError>("a page") });
    let stack = ServiceBuilder::new().layer(ClientLayer::new(JsonText)).service(page);
    let _ = tower_ws::tower::ServiceExt::oneshot(stack, tower_ws::http::Request::new(()));
}
