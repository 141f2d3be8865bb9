//! A tower layer that encrypts messages from end to end, for when the servers on the way must not
//! read them.
//!
//! [`CryptoLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). It seals each message of data with an AEAD
//! (ChaCha20-Poly1305, by [`ring`], which TLS uses too) and opens those that come in. The keys are
//! the application's: a [`KeyRing`] that both ends have.
//!
//! # When to use it
//!
//! When TLS ends at somebody you do not trust with the content: a gateway, a broker. It is no
//! replacement for TLS, which hides and protects what this layer leaves open.
//!
//! # Where it stands
//!
//! Below reconnect, since each connection has keys of its own, and what is sent again must be
//! sealed anew. Above the transport, and above health, whose WebSocket pings pass as they are (a
//! probe by messages of your protocol stands above it). A login in band stands above it, so that
//! the credential is sealed as well. Without this layer messages are as secret as the transport
//! makes them.
//!
//! # Example
//!
//! Both ends have the same layer, in different roles:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{Layer, ServiceExt};
//! use tower_ws_core::{Event, Lift, Verbatim, boxed};
//! use tower_ws_crypto::{CryptoLayer, Key, KeyRing, Role};
//!
//! // 32 bytes that both sides got from somewhere safe.
//! let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32])?);
//!
//! let (transport, mut listener) = tower_ws_transport::memory::channel::<Vec<u8>>(16);
//! let dial = CryptoLayer::new(ring.clone()).layer(transport);
//! let accept = CryptoLayer::new(ring).role(Role::Server).layer(tower::service_fn(move |()| {
//!     let socket = futures_util::FutureExt::now_or_never(listener.accept()).flatten();
//!     async move { socket.map(Lift::new).ok_or("nobody dials") }
//! }));
//!
//! let client = tokio::spawn(dial.oneshot(()));
//! tokio::task::yield_now().await;
//! let mut server = boxed(accept.oneshot(()).await?);
//! let mut client = boxed(client.await??);
//! assert!(matches!(client.next().await, Some(Event::Up(_))));
//! assert!(matches!(server.next().await, Some(Event::Up(_))));
//!
//! client.send(b"a secret".to_vec().into()).await?;
//! assert!(matches!(server.next().await, Some(Event::Message(message)) if message == b"a secret"));
//! # Ok(()) }
//! ```
//!
//! Over WebSocket, with keys that change while connections are up:
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_crypto::{CryptoLayer, Key, KeyRing};
//!
//! # fn main() -> Result<(), tower_ws_crypto::KeyError> {
//! let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32])?);
//! let layer = CryptoLayer::new(ring.clone()).timeout(Duration::from_secs(3));
//!
//! // Once both sides can open with it, both seal with it; then the old one goes.
//! ring.add(2, Key::try_from_slice(&[8; 32])?);
//! ring.seal_with(2)?;
//! ring.retire(1)?;
//! # Ok(()) }
//! ```
//!
//! # What goes over the wire
//!
//! 1. Each side says [`Hello`] in clear: the version, its role, 32 random bytes. `Up` follows when
//!    both have.
//! 2. Each message of data is packed, sealed, and carried as one binary message: see [`Sealer`]. It
//!    grows by [29 bytes](OVERHEAD), and one more over WebSocket, which says whether it was a text.
//!
//! The key of a connection and direction is HKDF-SHA256 of the ring's key and both sides' random
//! bytes. Nonces are the messages' numbers, from zero. So no two messages share a key and a nonce,
//! whatever is redialled or restarted: that would take two connections with the same 64 random
//! bytes. Sealing ends after [2^48](MAX_MESSAGES) messages of a connection.
//!
//! # What is refused
//!
//! A message that was changed, replayed, put into another order, sent back to its sender, taken
//! from another connection, sealed with a key that this side does not have, or not sealed. Nothing
//! of it goes up. The connection ends, with a [`CryptoError`] in the chain of its cause, and
//! reconnect backs off. That is not final: or whoever can change one byte on the way could end the
//! session for good.
//!
//! # What it does not do
//!
//! - It exchanges no keys: whoever gets a key of the ring can read what was recorded before. No
//!   forward secrecy.
//! - It does not say who the peer is, but that it has the key.
//! - It hides neither length, number nor time of messages, and no pings, close codes or handshake
//!   headers.
//! - It does not notice a message that was left out: numbers may be left out by whoever cancelled a
//!   message.
//! - It keeps no key on disk, and wipes none of what [`ring`] derives from them.
//!
//! # Logs
//!
//! `WARN` when a connection ends because of a message, with `error`.

mod connection;
mod error;
mod hello;
mod keys;
mod layer;
mod seal;
mod service;

pub use self::{
    connection::CryptoConnection,
    error::{CryptoError, KeyError},
    hello::{Hello, Nonces, Role},
    keys::{Key, KeyRing},
    layer::{CryptoLayer, HelloDialogue},
    seal::{MAX_MESSAGES, OVERHEAD, Opener, Sealer},
    service::Crypto,
};
