use std::{fmt, time::Duration};

use futures_core::future::BoxFuture;
use tokio::time::Instant;

/// Who gives turns where a limit is kept outside of this process, as by a database that many
/// processes share. See [`Limiter::shared`](crate::Limiter::shared).
pub trait Turns: Send + Sync + fmt::Debug + 'static {
    /// Resolves when this may pass: not when its turn is known, but when it has come. Whoever asks
    /// first should pass first.
    ///
    /// It is used within 250 ms, or asked for again. Dropping the future gives the turn up, whether
    /// or not another can have it.
    fn turn(&self, cost: Cost) -> BoxFuture<'static, Result<(), NoTurn>>;

    /// The server asked for less: nobody may pass for so long, wherever he is. Pauses do not add
    /// up: the one that ends last counts. It must not block.
    fn pause(&self, length: Duration);

    /// Until when there is a pause, as far as this process knows; `None` if there is none.
    fn paused_until(&self) -> Option<Instant>;
}

/// What is to pass: one dial, or one message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Its payload. 0 for a dial.
    pub bytes: u64,
    /// It passes now or not at all: a turn that comes later is [`NoTurn::Later`], and costs
    /// nothing.
    pub at_once: bool,
}

impl Cost {
    /// One of so many bytes, which may wait.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, at_once: false }
    }

    /// Sets that it passes now or not at all.
    #[must_use]
    pub fn at_once(self, at_once: bool) -> Self {
        Self { at_once, ..self }
    }
}

/// There is no turn for this one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoTurn {
    /// Not now, and it could not wait.
    #[error("more than the rate limit allows; send it later, or let it wait")]
    Later,
    /// It is larger than this, which is all that the limit ever lets pass at once.
    #[error("larger than the {0} bytes that the rate limit ever lets pass at once")]
    TooLarge(u64),
}
