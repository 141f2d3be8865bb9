use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use http::Uri;
use hyper::rt;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::Connection;
use rustls::ClientConfig;
use tower_service::Service;
use tower_ws_core::BoxError;

use super::{Negotiated, Tls, TlsError, TlsFiles, files::Watched};
use crate::trace::Stage;

/// TLS for `https` over another connector; `http` passes as it is. [`Connect`](crate::Connect) makes
/// it.
///
/// Clones share the configuration, and so the sessions: a redial resumes.
#[derive(Clone)]
pub struct TlsConnector<C> {
    inner: C,
    config: Source,
}

/// Where the configuration comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(Arc<ClientConfig>),
    Files(Arc<Watched>),
}

impl Source {
    pub(crate) fn fixed(config: ClientConfig) -> Self {
        Self::Fixed(Arc::new(with_alpn(config)))
    }

    /// The defaults, one configuration for the whole process: Mozilla's roots are large, and its memory of
    /// sessions serves all that dial the same server.
    pub(crate) fn defaults() -> Self {
        static DEFAULTS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let config = DEFAULTS.get_or_init(|| Arc::new(with_alpn(Tls::new().config())));
        Self::Fixed(config.clone())
    }

    pub(crate) fn files(files: TlsFiles) -> Result<Self, TlsError> {
        Ok(Self::Files(Arc::new(Watched::new(files)?)))
    }
}

/// ALPN `http/1.1`, if no protocol is named.
pub(super) fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    config
}

impl<C> TlsConnector<C> {
    pub(crate) fn new(inner: C, config: Source) -> Self {
        Self { inner, config }
    }
}

impl<C> Service<Uri> for TlsConnector<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static> + Clone,
    C::Response: Connection + rt::Read + rt::Write + Unpin + Send + 'static,
{
    type Response = MaybeHttpsStream<C::Response>;
    type Error = BoxError;
    type Future = Securing<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let config = match &self.config {
            Source::Fixed(config) => config.clone(),
            Source::Files(files) => files.current(),
        };
        // The one that is ready goes with the call.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        Securing(HttpsConnector::from((inner, config)).call(uri))
    }
}

impl<C: fmt::Debug> fmt::Debug for TlsConnector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The future of [`TlsConnector`].
#[must_use = "futures do nothing unless polled"]
pub struct Securing<IO>(Pin<Box<dyn Future<Output = Result<MaybeHttpsStream<IO>, BoxError>> + Send>>);

impl<IO> Future for Securing<IO> {
    type Output = Result<MaybeHttpsStream<IO>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = ready!(self.0.as_mut().poll(cx))?;
        if let MaybeHttpsStream::Https(tls) = &stream {
            let negotiated = Negotiated::of(tls.inner().get_ref().1);
            if let Some(negotiated) = negotiated {
                Stage::Tls(negotiated).note();
            }
        }
        Poll::Ready(Ok(stream))
    }
}

impl<IO> fmt::Debug for Securing<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Securing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_made_once() {
        let (Source::Fixed(one), Source::Fixed(other)) = (Source::defaults(), Source::defaults()) else {
            panic!("they come from no file")
        };
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(one.alpn_protocols, [b"http/1.1"]);
    }
}
