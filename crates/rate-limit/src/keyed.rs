mod error;
mod future;
mod keys;
mod layer;
mod refusing;
mod service;

pub use self::{
    error::KeyedLimitError, future::KeyedRateLimitFuture, layer::KeyedRateLimitLayer, service::KeyedRateLimit,
};
