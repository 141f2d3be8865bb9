//! Every layer by its name, and stacks of them put together at run time.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, future::BoxFuture};
use serde_json::{Value, json};
use tower::{
    Layer, Service, ServiceExt,
    util::{BoxCloneSyncService, MapResponseLayer},
};
use tower_ws::{
    ack::{AckLayer, JsonRpc},
    auth::{Credentials, LoginLayer},
    core::{BoxConnection, BoxError, Connection, Event, Failure, OpeningContext, OpeningLayer, boxed, jsonrpc::Ids},
    crypto::{CryptoLayer, Key, KeyRing},
    health::{HealthLayer, probe_fn},
    mcp::{Capabilities, Era, Implementation, McpLayer},
    metrics::MetricsLayer,
    queue::QueueLayer,
    rate_limit::{Quota, RateLimitLayer},
    reconnect::{FailoverLayer, ReconnectLayer, Targets},
    transport::JsonText,
};
use tower_ws_subscribe::{JsonRpc as Subscriptions, SubscribeLayer};

use crate::{
    far_end::{Far, Hex, Initialized, Sealed, Speaks},
    support::peer::hello,
};

/// The layers, by their names in `Up`, in the recommended order. A new one is a name here, a line
/// in [`Bench::put`], and its pairs in the test.
pub(crate) const NAMES: &[&str] = &[
    "session-metrics",
    "queue",
    "ack",
    "subscribe",
    "reconnect",
    "failover",
    "connection-metrics",
    "lease",
    "rate-limit",
    "health",
    "auth",
    "mcp",
    "hello",
    "crypto",
    "own",
];

/// More than any schedule sends.
const MANY: NonZeroU32 = NonZeroU32::new(1_000_000).expect("it is not zero");

/// A service of connections whose type says nothing of what it is made of.
pub(crate) type Boxed<T> = BoxCloneSyncService<T, BoxConnection<String>, BoxError>;

/// What layers are made with.
#[derive(Clone)]
pub(crate) struct Bench {
    reconnect: ReconnectLayer,
    queue: usize,
    window: usize,
    /// Of health: how long it waits to ask, and then for an answer.
    pub(crate) wait: Duration,
    /// What opens a connection says nothing.
    pub(crate) silent: bool,
}

// === impl Bench ===

impl Bench {
    pub(crate) fn random(reconnect: ReconnectLayer, rng: &mut Rng) -> Self {
        Self {
            reconnect,
            queue: rng.usize(1..60),
            window: rng.usize(1..60),
            wait: HealthLayer::INTERVAL,
            silent: false,
        }
    }

    pub(crate) fn stack<T>(&self, names: &[&str], bottom: Boxed<T>) -> Boxed<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        names.iter().rev().fold(bottom, |inner, name| self.put(name, inner))
    }

    fn put<T>(&self, name: &str, inner: Boxed<T>) -> Boxed<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        match name {
            "session-metrics" => over(MetricsLayer::session(), inner),
            "queue" => over(QueueLayer::new().messages(self.queue), inner),
            "ack" => over(
                AckLayer::new(JsonRpc::new(JsonText))
                    .window(self.window, 1 << 20)
                    .suspicions(u32::MAX),
                inner,
            ),
            "subscribe" => over(SubscribeLayer::new(Subscriptions::ethereum(JsonText)), inner),
            "reconnect" => over(self.reconnect.clone(), inner),
            "failover" => failover(inner),
            "connection-metrics" => over(MetricsLayer::connection(), inner),
            // Generous: the sample is about orders.
            "rate-limit" => over(
                RateLimitLayer::new()
                    .messages(Quota::per_second(MANY))
                    .inbound(Quota::per_second(MANY)),
                inner,
            ),
            "health" => {
                let probe = probe_fn(question, |said: &String| answer(said));
                over(
                    HealthLayer::new().probe(probe).interval(self.wait).timeout(self.wait),
                    inner,
                )
            }
            "auth" => over(
                LoginLayer::new(Credentials::fixed("secret"), |talk: OpeningContext<String>, _| async {
                    Ok(talk)
                }),
                inner,
            ),
            "mcp" => {
                let client = Implementation::new("test", "1");
                let (layer, _) = McpLayer::pair(JsonText, client, Capabilities::new());
                over(layer.only(Era::Legacy), with_far_end(inner, || Initialized))
            }
            "crypto" => {
                let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32]).expect("it is long enough"));
                let opens = ring.clone();
                let far_end = with_far_end(inner, move || Sealed::new(opens.clone()));
                over(CryptoLayer::new(ring).pack(Hex), far_end)
            }
            "hello" if self.silent => over(OpeningLayer::new("hello", |talk| async { Ok(talk) }), inner),
            "hello" => over(OpeningLayer::new("hello", greeting()), inner),
            // Its place alone: it needs a database, and has a lane for all of a test.
            "lease" => over(MapResponseLayer::new(|connection| named("lease", connection)), inner),
            "own" => over(MapResponseLayer::new(|connection| named("own", connection)), inner),
            _ => panic!("no layer is named {name}"),
        }
    }
}

fn with_far_end<T, S>(inner: Boxed<T>, far_end: impl Fn() -> S + Clone + Send + Sync + 'static) -> Boxed<T>
where
    T: Clone + Send + Sync + 'static,
    S: Speaks + 'static,
{
    over(
        MapResponseLayer::new(move |connection| Far::new(connection, far_end())),
        inner,
    )
}

fn over<T, L>(layer: L, inner: Boxed<T>) -> Boxed<T>
where
    L: Layer<Boxed<T>, Service: Erase<T>>,
{
    layer.layer(inner).erase()
}

/// Whatever can be one of the layers' services.
pub(crate) trait Erase<T> {
    fn erase(self) -> Boxed<T>;
}

impl<S, T> Erase<T> for S
where
    S: Service<T, Error: Into<BoxError> + 'static, Future: Send + 'static> + Clone + Send + Sync + 'static,
    S::Response: Connection<Message = String> + Send + 'static,
{
    fn erase(self) -> Boxed<T> {
        let erased = ServiceExt::<T>::map_response(self, boxed::<S::Response>);
        BoxCloneSyncService::new(ServiceExt::<T>::map_err(erased, Into::into))
    }
}

/// To two endpoints, which are the same.
fn failover<T>(inner: Boxed<T>) -> Boxed<T>
where
    T: Clone + Send + Sync + 'static,
{
    let targets = Arc::new(OnceLock::new());
    let both = move |target: T| targets.get_or_init(|| Targets::new(target.clone(), [target])).clone();
    FailoverLayer::new().layer(inner).map_request(both).erase()
}

/// A probe that the server answers like any call.
fn question(nonce: u64) -> String {
    json!({ "jsonrpc": "2.0", "id": nonce, "method": "hello" }).to_string()
}

fn answer(message: &str) -> Option<u64> {
    let said: Value = serde_json::from_str(message).ok()?;
    said.get("result").and_then(|_| said["id"].as_u64())
}

type Greeting = BoxFuture<'static, Result<OpeningContext<String>, Failure>>;

fn greeting() -> impl Fn(OpeningContext<String>) -> Greeting + Clone + Send + Sync {
    let ids = Ids::new();
    move |talk| Box::pin(hello(talk, ids.clone()))
}

/// A layer of somebody's own, of which nobody here knows more than its name.
fn named(name: &'static str, connection: BoxConnection<String>) -> BoxConnection<String> {
    boxed(connection.map(move |event| match event {
        Event::Up(up) => Event::Up(up.through(name)),
        event => event,
    }))
}
