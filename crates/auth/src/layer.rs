use std::{fmt, sync::Arc};

use http::{HeaderName, Uri};
use tower_layer::Layer;
use tower_ws_core::BoxError;

use crate::{credentials::Credentials, scheme::Scheme, service::Auth};

/// Shows a credential in each handshake. See the [crate docs](crate).
#[derive(Clone)]
pub struct AuthLayer {
    pub(crate) credentials: Credentials,
    pub(crate) scheme: Scheme,
    pub(crate) plaintext: bool,
}

impl AuthLayer {
    fn new(credentials: Credentials, scheme: Scheme) -> Self {
        Self {
            credentials,
            scheme,
            plaintext: false,
        }
    }

    /// `authorization: Bearer <secret>` ([RFC 6750, section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
    pub fn bearer(credentials: Credentials) -> Self {
        Self::new(credentials, Scheme::Bearer)
    }

    /// `authorization: Basic <user:secret>` ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    pub fn basic(user: impl Into<String>, credentials: Credentials) -> Self {
        let user = user.into();
        Self::new(credentials, Scheme::Basic { user })
    }

    /// A header of the server's choice, with the secret as it is: an API key.
    pub fn header(name: HeaderName, credentials: Credentials) -> Self {
        Self::new(credentials, Scheme::Header(name))
    }

    /// A parameter in the query. Servers log queries: prefer a header where there is a choice.
    pub fn query(name: impl Into<String>, credentials: Credentials) -> Self {
        let name = name.into();
        Self::new(credentials, Scheme::Query { name })
    }

    /// An address that is signed with the secret for each dial: `sign` is given the address and the
    /// secret, and returns the address to dial. One that is plaintext to another machine is refused,
    /// unless that is [allowed](Self::allow_plaintext).
    pub fn signed<F>(credentials: Credentials, sign: F) -> Self
    where
        F: Fn(&Uri, &str) -> Result<Uri, BoxError> + Send + Sync + 'static,
    {
        Self::new(credentials, Scheme::Signed(Arc::new(sign)))
    }

    /// One more subprotocol is offered: `prefix` and the secret in base64url. For servers that were
    /// made for browsers, which cannot set headers. Such a server answers with another of those
    /// offered, so offer one.
    pub fn subprotocol(prefix: impl Into<String>, credentials: Credentials) -> Self {
        let prefix = prefix.into();
        Self::new(credentials, Scheme::Subprotocol { prefix })
    }

    /// The credentials that it shows.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Shows the credential over `ws` to other machines, too: everybody on the way can read it.
    /// Default: only over `wss`, and to this machine.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth::new(inner, self.clone())
    }
}
