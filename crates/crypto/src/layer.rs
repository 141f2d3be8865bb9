use std::{fmt, time::Duration};

use futures_core::future::BoxFuture;
use tower_layer::Layer;
use tower_ws_core::{Carry, Dialogue, Failure, FailureKind, OpeningContext, OpeningLayer, Pack};

use crate::{
    error::CryptoError,
    hello::{Hello, Role},
    keys::KeyRing,
    service::Crypto,
};

/// Cryptos the messages of each connection. See the [crate docs](crate).
#[derive(Clone)]
pub struct CryptoLayer<Z> {
    pub(crate) codec: Z,
    pub(crate) ring: KeyRing,
    role: Role,
    timeout: Duration,
}

impl<Z> CryptoLayer<Z> {
    /// Cryptos with the keys of a ring, for the side that dials. `codec` says how messages become
    /// bytes and how sealed bytes travel as messages: `Frames` for WebSocket,
    /// [`Verbatim`](tower_ws_core::Verbatim) for byte strings.
    pub fn new(codec: Z, ring: KeyRing) -> Self {
        Self {
            codec,
            ring,
            role: Role::Client,
            timeout: OpeningLayer::<()>::TIMEOUT,
        }
    }

    /// Sets which side this is. Default: the one that dials.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets how long the peer may take to say hello. Default [10 s](OpeningLayer::TIMEOUT).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<Z> fmt::Debug for CryptoLayer<Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoLayer")
            .field("ring", &self.ring)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl<S, Z: Clone> Layer<S> for CryptoLayer<Z> {
    type Service = Crypto<S, Z>;

    fn layer(&self, inner: S) -> Self::Service {
        let dialogue = HelloDialogue {
            codec: self.codec.clone(),
            role: self.role,
        };
        let opening = OpeningLayer::new("crypto", dialogue).timeout(self.timeout);
        Crypto::new(opening.layer(inner), self.clone())
    }
}

/// The dialogue: both sides say hello.
#[derive(Clone, Debug)]
pub struct HelloDialogue<Z> {
    codec: Z,
    role: Role,
}

impl<M, Z> Dialogue<M> for HelloDialogue<Z>
where
    M: Send + 'static,
    Z: Pack<M> + Carry<M> + Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Result<OpeningContext<M>, Failure>>;

    fn open(&self, mut talk: OpeningContext<M>) -> Self::Future {
        let Self { codec, role } = self.clone();
        Box::pin(async move {
            let hello = Hello::new(role).map_err(|error| {
                Failure::new(FailureKind::Local, "the system has no randomness to give").with_source(error)
            })?;
            talk.send(codec.carry(hello.to_bytes().into())).await?;
            let nonces = loop {
                let message = talk.recv().await?;
                match codec.carried(message) {
                    Ok(theirs) => break hello.meet(&theirs)?,
                    // A pong, say.
                    Err(message) if codec.pack(&message).is_none() => talk.keep(message)?,
                    Err(_) => return Err(CryptoError::Plaintext.into()),
                }
            };
            talk.up().extensions.insert(nonces);
            Ok(talk)
        })
    }
}
