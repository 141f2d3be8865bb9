//! Why things fail, and what to do about it.

mod disposition;
mod excerpt;
mod failure;
mod table;

/// Any error, where planes meet. Each layer's own errors are concrete types; [`find`] finds one in a chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use self::{
    disposition::Disposition,
    excerpt::Excerpt,
    failure::{Close, Failure, FailureKind, RetryAfter, chain, find},
    table::DispositionTable,
};
