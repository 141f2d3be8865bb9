//! The span of a session. Alone in its process: other tests' subscribers would interfere.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::sync::{Arc, Mutex};

use tower::{Layer, ServiceExt};
use tower_ws_client::ClientLayer;
use tower_ws_transport::{JsonText, memory};
use tracing::{Id, Instrument, Subscriber};
use tracing_subscriber::{layer::Context, layer::SubscriberExt, registry::LookupSpan};

/// The spans that were closed, in order.
#[derive(Clone, Default)]
struct Closed(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Closed {
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let name = context.span(&id).unwrap().name();
        self.0.lock().unwrap().push(name);
    }
}

/// A span stays open for as long as one within it: that of a session would keep its caller's for
/// days.
#[tokio::test]
async fn a_session_does_not_keep_the_span_of_whoever_connects() {
    let closed = Closed::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(closed.clone()));
    let (memory, mut listener) = memory::channel::<String>(8);
    let connect = ClientLayer::new(JsonText).layer(memory).oneshot(());
    let connecting = connect.instrument(tracing::info_span!("caller"));
    let (connected, peer) = tokio::join!(connecting, listener.accept());
    let (client, inbound) = connected.unwrap();
    assert_eq!(*closed.0.lock().unwrap(), ["caller"]);
    drop((client, inbound, peer));
    while !closed.0.lock().unwrap().contains(&"session") {
        tokio::task::yield_now().await;
    }
}
