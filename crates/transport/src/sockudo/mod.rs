//! Framing by [sockudo-ws](https://docs.rs/sockudo-ws), which can compress: permessage-deflate,
//! [RFC 7692](https://www.rfc-editor.org/rfc/rfc7692).

mod extension;
mod reader;
mod socket;
mod writer;

use http::{HeaderMap, HeaderValue};
use hyper::rt;
use tower_ws_core::Failure;

pub use self::socket::SockudoSocket;
use crate::{Framing, Limits, Upgraded};

/// Framing by sockudo-ws: see the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockudo {
    deflate: Option<Deflate>,
}

/// How to compress, and what to offer.
#[derive(Clone, Copy, Debug)]
pub struct Deflate {
    level: u32,
    threshold: usize,
    forget: bool,
}

// === impl Sockudo ===

impl Sockudo {
    /// Without compression: nothing is offered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers permessage-deflate. A server that declines is spoken with uncompressed.
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }
}

impl Framing for Sockudo {
    type Socket<IO>
        = SockudoSocket<IO>
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static;

    fn offer(&self) -> Option<HeaderValue> {
        self.deflate.map(|deflate| extension::offer(deflate.forget))
    }

    async fn socket<IO>(
        &self,
        stream: Upgraded<IO>,
        limits: &Limits,
        answer: &HeaderMap,
    ) -> Result<SockudoSocket<IO>, Failure>
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static,
    {
        let deflate = match self.deflate {
            Some(deflate) => extension::chosen(answer, deflate.forget)?.map(|agreed| (deflate, agreed)),
            None => None,
        };
        Ok(SockudoSocket::new(stream, limits, deflate))
    }
}

// === impl Deflate ===

impl Deflate {
    /// The default of [`level`](Self::level): 6, which is zlib's own.
    pub const LEVEL: u32 = 6;
    /// The default of [`threshold`](Self::threshold): 128 bytes. Less is not worth the processor's time.
    pub const THRESHOLD: usize = 128;

    /// The defaults: [`LEVEL`](Self::LEVEL), [`THRESHOLD`](Self::THRESHOLD), and messages that refer to those before.
    pub fn new() -> Self {
        Self {
            level: Self::LEVEL,
            threshold: Self::THRESHOLD,
            forget: false,
        }
    }

    /// Sets how hard to try, from 0 (not at all) to 9. Higher counts as 9.
    #[must_use]
    pub fn level(mut self, level: u32) -> Self {
        self.level = level.min(9);
        self
    }

    /// Sets from which size on messages go out compressed. Those that come in are the server's choice.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Has each message stand for itself, in both directions (`server_no_context_takeover` and
    /// `client_no_context_takeover`). It compresses small messages worse, and keeps what one message says from showing in the
    /// size of the next. A server that does not agree fails the dial.
    #[must_use]
    pub fn no_context_takeover(mut self) -> Self {
        self.forget = true;
        self
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}
