//! Subscriptions.

mod connection;
mod dialect;
mod entry;
mod feed;
mod handle;
mod layer;
mod numbers;
mod profile;
mod service;
mod standing;
mod subscriber;
mod subscription;
mod update;

pub use self::{
    connection::SubscribeConnection,
    dialect::{Dialect, Hears, Says, To},
    feed::{Heard, Lag},
    handle::{Change, Handle, Snapshot},
    layer::SubscribeLayer,
    profile::{Anew, Channels, GraphQl, JsonRpc, Resume, Sequenced},
    service::Subscribe,
    subscriber::{Items, SubscribeError, Subscriber},
    subscription::Subscription,
    update::{Ended, Gap, Update},
};
