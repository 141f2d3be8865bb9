//! Framing by [sockudo-ws](https://docs.rs/sockudo-ws), which can compress: permessage-deflate,
//! [RFC 7692](https://www.rfc-editor.org/rfc/rfc7692).
//!
//! Use it where the bytes on the wire cost more than the processor's time: a slow or metered link,
//! large JSON. The handshake and its checks, the [`Limits`], the messages and all layers above stay
//! what they are; only what frames is another crate.
//!
//! Without compression:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_core::Event;
//! use tower_ws_transport::{Message, TransportLayer, sockudo::Sockudo};
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let transport = TransportLayer::new().framing(Sockudo::new()).layer(tcp_connector());
//! let mut connection = transport.oneshot(Request::get(url).body(())?).await?;
//! assert!(matches!(connection.next().await, Some(Event::Up(_))));
//! connection.send(Message::text("hello").into()).await?;
//! let Some(Event::Message(echo)) = connection.next().await else { panic!() };
//! assert_eq!(echo.as_text(), Some("hello"));
//! # Ok(()) }
//! ```
//!
//! With it, and what became of the offer:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::StreamExt;
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_core::Event;
//! use tower_ws_transport::{Handshake, TransportLayer, sockudo::{Deflate, Sockudo}};
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let framing = Sockudo::new().deflate(Deflate::new().level(3).threshold(1024).no_context_takeover());
//! let transport = TransportLayer::new().framing(framing).layer(tcp_connector());
//! let mut connection = transport.oneshot(Request::get(url).body(())?).await?;
//! let Some(Event::Up(up)) = connection.next().await else { panic!() };
//! let handshake = up.extensions.get::<Handshake>().ok_or("no handshake")?;
//! // This server knows no extension. It is spoken with all the same, uncompressed.
//! assert!(!handshake.headers().contains_key("sec-websocket-extensions"));
//! # Ok(()) }
//! ```
//!
//! # Compression
//!
//! - It is offered on request only, and the answer is judged strictly: an extension, a parameter or
//!   a value that the offer does not allow fails the dial.
//! - A large message is compressed piece by piece, so that a ping still passes between them, and
//!   nothing is held but a piece.
//! - [`Limits::message_in`] is about what a message is, not what it was on the wire. One that
//!   unpacks to more ends the connection with 1009, and no more than the limit is ever unpacked.
//!   Messages are unpacked one at a time, when they are read.
//! - [`Limits::message_out`] is about what a message is, too.
//! - It takes some 300 KiB for each connection that has sent a compressed message, and 50 KiB for
//!   each that may receive one.
//! - A message that was cut short is an error, never a shorter message: where it ends, the format says.
//! - Texts are checked to be UTF-8 as their frames come in, those that are compressed when all of them
//!   is there: that is when they are unpacked.
//! - Unpacking and packing are done where the connection is polled: with a limit of 16 MiB a poll
//!   can take tens of milliseconds.
//!
//! **Do not compress secrets beside what somebody else chose.** Who sees the size of the messages,
//! and can have some of their text chosen, can find out the rest of it.
//! [`Deflate::no_context_takeover`] keeps one message from telling about another, not the parts of
//! one message.
//!
//! # Why this crate
//!
//! It compresses, its licence is a permissive one (MIT), it unpacks up to a limit, and its codec
//! does no I/O, so that it fits below a handshake that is already there. It brings `flate2` with
//! `zlib-rs` (no C) and `simdutf8`. Masks are drawn from a secure generator. On x86-64 it needs
//! Rust 1.89, one version more than the rest of the workspace. Of the others, `yawc` compresses as
//! well, under MPL-2.0; `soketto` and `ratchet` unpack without a limit; `fastwebsockets` and
//! `tokio-websockets` do not compress. It is younger than tungstenite and less used, which is why
//! tungstenite stays the default.
//!
//! Side by side, uncompressed, under reconnect, in three runs on a busy machine with two cores:
//! with 256 messages of 64 bytes in flight 1.2 to 1.4 times the messages per second of
//! tungstenite's framing at 0.75 to 0.8 times the processor's time; with 16 of 1 MiB 1.1 to 1.2
//! times, at 0.7 to 0.9. `benches/` has the kinds `tower-ws-echo` and `tower-ws-sockudo`.
//!
//! # What it does not do
//!
//! - It does not ask the server for a smaller window. One that the server asks of us
//!   (`client_max_window_bits`) is kept to; with the smallest, of 256 bytes, messages go out as they
//!   are, since zlib knows none so small.
//! - It does not look at what a message holds: what is compressed already is compressed again.

mod extension;
mod inflate;
mod reader;
mod socket;
#[cfg(test)]
mod tests;
mod writer;

use http::{HeaderMap, HeaderValue};
use hyper::rt;
use tower_ws_core::Failure;

pub use self::socket::SockudoSocket;
use crate::{
    framing::{Framing, Upgraded},
    limits::Limits,
};

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
    /// The default of [`threshold`](Self::threshold): 128 bytes. Less is not worth the processor's
    /// time.
    pub const THRESHOLD: usize = 128;

    /// The defaults: [`LEVEL`](Self::LEVEL), [`THRESHOLD`](Self::THRESHOLD), and messages that
    /// refer to those before.
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

    /// Sets from which size on messages go out compressed. Those that come in are the server's
    /// choice.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Has each message stand for itself, in both directions (`server_no_context_takeover` and
    /// `client_no_context_takeover`). It compresses small messages worse, and keeps what one
    /// message says from showing in the size of the next. A server that does not agree fails the
    /// dial.
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
