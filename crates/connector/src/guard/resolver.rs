use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{BoxError, Excerpt, Failure, FailureKind};

use super::{
    Profile,
    names::{is_localhost, plain},
};
use crate::{
    avoided::Avoided,
    tcp::{Resolver, Resolving},
    trace::Trace,
};

/// How many addresses of a name are looked at: more than any answer that fits into a packet of DNS
/// over UDP has, so that a resolver cannot make a dial endless.
const ADDRESSES: usize = 64;

/// A resolver that gives out allowed addresses only. [`Guard::new`](super::Guard::new) makes it.
///
/// Of a name with allowed and refused addresses, the allowed ones are dialled: nothing goes to the
/// others, and a name may well have a link-local address beside the one that is meant. A name that
/// has none but refused ones is refused. Those that took a connection and never answered on it come
/// last for 5 min ([`Trace::unanswered`](crate::Trace::unanswered)).
#[derive(Clone, Debug)]
pub struct Checked<R = GaiResolver> {
    inner: Resolver<R>,
    profile: Profile,
    secure: bool,
    avoided: Avoided,
}

#[cfg(feature = "tls")]
impl Checked {
    /// The system's resolver, for what is dialled securely or from elsewhere.
    pub(crate) fn system(profile: Profile) -> Self {
        Self::new(GaiResolver::new(), profile, true)
    }
}

impl<R> Checked<R> {
    pub(super) fn new(inner: R, profile: Profile, secure: bool) -> Self {
        Self {
            inner: Resolver::new(inner),
            profile,
            secure,
            avoided: Avoided::default(),
        }
    }
}

impl<R> Service<Name> for Checked<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>>,
{
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Failure;
    type Future = Checking<R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // Files of hosts have `localhost` without the dot at the end.
        let dotless = name
            .as_str()
            .strip_suffix('.')
            .filter(|name| is_localhost(&plain(name)));
        let asked = dotless
            .and_then(|name| name.parse().ok())
            .unwrap_or_else(|| name.clone());
        Checking {
            name: name.as_str().to_owned(),
            inner: self.inner.call(asked),
            profile: self.profile.clone(),
            secure: self.secure,
            avoided: self.avoided.clone(),
        }
    }
}

/// The future of [`Checked`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Checking<F> {
    #[pin]
    inner: Resolving<F>,
    name: String,
    profile: Profile,
    secure: bool,
    avoided: Avoided,
}

impl<F, A, E> Future for Checking<F>
where
    F: Future<Output = Result<A, E>>,
    A: Iterator<Item = SocketAddr>,
    E: Into<BoxError>,
{
    type Output = Result<vec::IntoIter<SocketAddr>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let found = ready!(this.inner.poll(cx))?;
        let mut allowed = Vec::new();
        let mut refused = None;
        for addr in found.take(ADDRESSES) {
            match this.profile.check_dial(addr.ip(), Some(this.name), *this.secure, false) {
                Ok(()) => allowed.push(addr),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if !allowed.is_empty() {
            let now = Instant::now();
            // Stable: otherwise the resolver's order stays.
            allowed.sort_by_key(|addr| this.avoided.has(addr.ip(), now));
            Trace::note_resolved(allowed.iter().map(SocketAddr::ip).collect(), this.avoided);
            return Poll::Ready(Ok(allowed.into_iter()));
        }
        Poll::Ready(Err(match refused {
            Some(refused) => refused.of(this.name).into(),
            None => Failure::new(
                FailureKind::Dns,
                format!("the name {} has no address", Excerpt::new(this.name)),
            ),
        }))
    }
}
