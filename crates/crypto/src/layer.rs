use std::{fmt, sync::Arc, time::Duration};

use futures_core::future::BoxFuture;
use tower_layer::Layer;
use tower_ws_core::{Carry, Dialogue, Failure, FailureKind, OpeningContext, OpeningLayer, Pack, Verbatim};

use crate::{
    error::CryptoError,
    hello::{Hello, Role},
    keys::KeyRing,
    service::Crypto,
};

/// Encrypts the messages of each connection. See the [crate docs](crate).
#[derive(Clone)]
pub struct CryptoLayer<P = Verbatim> {
    pub(crate) pack: P,
    pub(crate) ring: KeyRing,
    role: Role,
    timeout: Duration,
}

impl CryptoLayer {
    /// Encrypts with the keys of a ring, for the side that dials.
    pub fn new(ring: KeyRing) -> Self {
        Self {
            pack: Verbatim,
            ring,
            role: Role::Client,
            timeout: OpeningLayer::<()>::TIMEOUT,
        }
    }
}

impl<P> CryptoLayer<P> {
    /// Sets how messages become bytes ([`Pack`]) and how sealed bytes travel as messages
    /// ([`Carry`]). Default: [`Verbatim`].
    #[must_use]
    pub fn pack<Q>(self, pack: Q) -> CryptoLayer<Q> {
        CryptoLayer {
            pack,
            ring: self.ring,
            role: self.role,
            timeout: self.timeout,
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

impl<P> fmt::Debug for CryptoLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoLayer")
            .field("ring", &self.ring)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl<S, P: Clone> Layer<S> for CryptoLayer<P> {
    type Service = Crypto<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let dialogue = HelloDialogue {
            pack: self.pack.clone(),
            role: self.role,
        };
        let opening = OpeningLayer::new("crypto", dialogue).timeout(self.timeout);
        Crypto::new(opening.layer(inner), self.clone())
    }
}

/// The dialogue: both sides say hello.
#[derive(Clone, Debug)]
pub struct HelloDialogue<P> {
    pack: P,
    role: Role,
}

impl<M, P> Dialogue<M> for HelloDialogue<P>
where
    M: Send + 'static,
    P: Pack<M> + Carry<M> + Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Result<OpeningContext<M>, Failure>>;

    fn open(&self, mut talk: OpeningContext<M>) -> Self::Future {
        let Self { pack, role } = self.clone();
        Box::pin(async move {
            let hello = Hello::new(role).map_err(|error| {
                Failure::new(FailureKind::Local, "the system has no randomness to give").with_source(error)
            })?;
            talk.send(pack.carry(hello.to_bytes().into())).await?;
            let nonces = loop {
                let message = talk.recv().await?;
                match pack.carried(message) {
                    Ok(theirs) => break hello.meet(&theirs)?,
                    // A pong, say.
                    Err(message) if pack.pack(&message).is_none() => talk.keep(message)?,
                    Err(_) => return Err(CryptoError::Plaintext.into()),
                }
            };
            // Extensions can be cloned, and this must not be.
            talk.up().extensions.insert(Arc::new(nonces));
            Ok(talk)
        })
    }
}
