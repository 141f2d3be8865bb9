use std::{fmt, future::Future, time::SystemTime};

use secrecy::{ExposeSecret, SecretString};
use tower_ws_core::BoxError;

/// A secret, and for how long it is good.
///
/// It is wiped from memory when it is dropped, and its `Debug` does not show it.
#[derive(Clone)]
pub struct Credential {
    secret: SecretString,
    expires: Option<SystemTime>,
}

impl Credential {
    /// One that is good until it is refused.
    pub fn new(secret: impl Into<SecretString>) -> Self {
        Self {
            secret: secret.into(),
            expires: None,
        }
    }

    /// Sets the moment from which on it is not good any more.
    #[must_use]
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// The secret itself. Whatever it is put into must not be shown.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The moment from which on it is not good any more, if there is one.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.expires
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Where credentials come from: a token endpoint, a file, a vault. Closures that return a future
/// implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` fetches no credential",
    label = "no credential comes from here",
    note = "a closure whose future is a `Result<Credential, BoxError>` will do: `|| async {{ Ok(Credential::new(token)) }}`"
)]
pub trait Provider: Send + Sync + 'static {
    /// The fetch under way.
    type Future: Future<Output = Result<Credential, BoxError>> + Send + 'static;

    /// Fetches a new credential. It is called by [`Credentials`](crate::Credentials): never twice
    /// at a time, and not again at once after it has failed.
    ///
    /// An error is taken for passing, and what it says is shown in logs and errors: leave secrets
    /// out. To say that trying again is in vain, return a [`Failure`](tower_ws_core::Failure) that
    /// is [final](tower_ws_core::Disposition::Final).
    fn fetch(&self) -> Self::Future;
}

#[diagnostic::do_not_recommend]
impl<F, Fut> Provider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credential, BoxError>> + Send + 'static,
{
    type Future = Fut;

    fn fetch(&self) -> Fut {
        self()
    }
}
