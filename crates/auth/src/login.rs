//! Credentials that are shown in band: a dialogue on the fresh connection.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{
    BoxError, Connection, Dialogue, Failure, Length, MapConnection, Measure, Opening, OpeningConnection,
    OpeningContext, OpeningFuture, OpeningLayer, Server, Wrap,
};

use crate::{
    connection::AuthConnection,
    credentials::{Credentials, IssuedCredential},
};

/// Shows a credential in a dialogue that opens each connection, before anything that waits above
/// may go. See the [crate docs](crate).
pub struct LoginLayer<D> {
    credentials: Credentials,
    dialogue: Arc<D>,
    timeout: Duration,
}

/// The dialogue, with the credential that it gets.
pub struct LoginDialogue<D> {
    credentials: Credentials,
    dialogue: Arc<D>,
}

/// The service of [`LoginLayer`].
pub struct Login<S, D> {
    inner: Opening<S, LoginDialogue<D>>,
    layer: LoginLayer<D>,
}

impl<D> LoginLayer<D> {
    /// Opens each connection by `dialogue`, a function that takes an [`OpeningContext`] and the
    /// credential ([`IssuedCredential`]), and gives the talk back.
    ///
    /// A [`Failure`] of the kind [`Auth`](tower_ws_core::FailureKind::Auth) says that the server
    /// has refused the credential: the next dial shows another.
    pub fn new(credentials: Credentials, dialogue: D) -> Self {
        Self {
            credentials,
            dialogue: Arc::new(dialogue),
            timeout: OpeningLayer::<()>::TIMEOUT,
        }
    }

    /// Sets how long the dialogue may take, fetching the credential included. Default
    /// [10 s](OpeningLayer::TIMEOUT).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<M, D, Fut> Dialogue<M> for LoginDialogue<D>
where
    M: Send + 'static,
    D: Fn(OpeningContext<M>, IssuedCredential) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<OpeningContext<M>, Failure>> + Send,
{
    type Future = BoxFuture<'static, Result<OpeningContext<M>, Failure>>;

    fn open(&self, mut talk: OpeningContext<M>) -> Self::Future {
        let (credentials, dialogue) = (self.credentials.clone(), self.dialogue.clone());
        Box::pin(async move {
            let server = talk.up().extensions.get::<Server>();
            let endpoint = server.map_or_else(String::new, |server| server.to_string().to_ascii_lowercase());
            let shown = credentials.get_for(&endpoint).await?;
            match dialogue(talk, shown.clone()).await {
                Ok(mut talk) => {
                    talk.up().extensions.insert(shown);
                    Ok(talk)
                }
                Err(failure) => {
                    credentials.discard_if_refused(&failure, &shown);
                    Err(failure)
                }
            }
        })
    }
}

impl<S, D> Layer<S> for LoginLayer<D> {
    type Service = Login<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let dialogue = LoginDialogue {
            credentials: self.credentials.clone(),
            dialogue: self.dialogue.clone(),
        };
        Login {
            inner: OpeningLayer::new("auth", dialogue).timeout(self.timeout).layer(inner),
            layer: self.clone(),
        }
    }
}

impl<S, D, T, C> Service<T> for Login<S, D>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    Length: Measure<C::Message>,
    LoginDialogue<D>: Dialogue<C::Message> + 'static,
{
    type Response = AuthConnection<OpeningConnection<C::Message>>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, LoginLayer<D>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<C, D> Wrap<C> for LoginLayer<D> {
    type Connection = AuthConnection<C>;

    fn wrap(self, inner: C) -> AuthConnection<C> {
        AuthConnection::new(inner, self.credentials, None)
    }
}

// === Clone and Debug, whatever the dialogue is ===

impl<D> Clone for LoginLayer<D> {
    fn clone(&self) -> Self {
        Self {
            credentials: self.credentials.clone(),
            dialogue: self.dialogue.clone(),
            timeout: self.timeout,
        }
    }
}

impl<D> Clone for LoginDialogue<D> {
    fn clone(&self) -> Self {
        Self {
            credentials: self.credentials.clone(),
            dialogue: self.dialogue.clone(),
        }
    }
}

impl<S: Clone, D> Clone for Login<S, D> {
    fn clone(&self) -> Self {
        Self {
            // A clone of it is not ready, by the contract of `Service`.
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<D> fmt::Debug for LoginLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginLayer")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<D> fmt::Debug for LoginDialogue<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginDialogue")
    }
}

impl<S, D> fmt::Debug for Login<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}
