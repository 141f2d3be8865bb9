//! Failing fast in a long outage.

mod error;
mod future;
mod layer;
mod service;

pub use self::{
    error::{CircuitError, CircuitOpen},
    future::CircuitFuture,
    layer::CircuitLayer,
    service::Circuit,
};
