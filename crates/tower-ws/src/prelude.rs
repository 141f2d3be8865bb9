//! What a program that spells its stack out has in scope: `use tower_ws::prelude::*;`.
//!
//! The layers, what they stand on, and tower's traits. Names that other crates are likely to have too are left
//! out.

pub use http::Request as HttpRequest;
pub use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[cfg(feature = "auth")]
pub use crate::auth::{AuthLayer, Credentials, LoginLayer};
#[cfg(feature = "tls")]
pub use crate::connector::connector;
#[cfg(feature = "crypto")]
pub use crate::crypto::CryptoLayer;
#[cfg(feature = "metrics")]
pub use crate::metrics::MetricsLayer;
#[cfg(feature = "rate-limit")]
pub use crate::rate_limit::{Quota, RateLimitLayer};
pub use crate::{
    ack::{AckLayer, JsonRpc},
    client::{Client, ClientLayer, Inbound, Incoming},
    connect_by,
    connector::Connect,
    core::{Connection, OpeningLayer, Outgoing},
    health::HealthLayer,
    messages::{Events, MessagesLayer, Sender},
    queue::QueueLayer,
    reconnect::{FailoverLayer, ReconnectLayer},
    subscribe::SubscribeLayer,
    transport::{JsonText, Message, TransportLayer},
};
