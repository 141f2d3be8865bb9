//! What a program that spells its stack out has in scope: `use tower_ws::prelude::*;`.
//!
//! The layers, what they stand on, and tower's traits. Names that other crates are likely to have too are left
//! out.

pub use http::Request as HttpRequest;
pub use tower::{Layer, Service, ServiceBuilder, ServiceExt};

pub use crate::{
    ack::{AckLayer, JsonRpc},
    auth::{AuthLayer, Credentials, LoginLayer},
    client::{Client, ClientLayer, Inbound, Incoming},
    connect_by,
    connector::{Connect, connector},
    core::{Connection, OpeningLayer, Outgoing},
    crypto::CryptoLayer,
    health::HealthLayer,
    messages::{Events, MessagesLayer, Sender},
    metrics::MetricsLayer,
    queue::QueueLayer,
    rate_limit::{Quota, RateLimitLayer},
    reconnect::{FailoverLayer, ReconnectLayer},
    subscribe::SubscribeLayer,
    transport::{JsonText, Message, TransportLayer},
};
