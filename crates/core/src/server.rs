use std::{fmt, sync::Arc};

/// Which server a connection is to, for logs: scheme, host and port, and never a path, a query or a
/// user, which may hold secrets.
///
/// The transport leaves it in the extensions of [`Up`](crate::Up).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server(Arc<str>);

impl Server {
    /// The server at this address.
    pub fn new(address: impl Into<Arc<str>>) -> Self {
        Self(address.into())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
