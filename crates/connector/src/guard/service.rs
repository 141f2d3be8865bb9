use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Uri;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Failure, FailureKind};

use super::{Checked, Profile, Refused, Rule};
use crate::url::{self, Host};

/// Refuses to dial what its [`Profile`] does not allow. See the [module docs](super).
///
/// It judges scheme, port, and host as they stand in the URL, for a connector dials an address
/// there without asking a resolver; and by [`Checked`] what names resolve to, in the very dial that
/// uses it.
#[derive(Clone, Debug)]
pub struct Guard<C> {
    profile: Profile,
    /// One connector for each scheme: a resolver is told a name only, so the rule for plaintext has
    /// to be built into the one that `ws` uses.
    plain: C,
    secure: C,
    /// What is below dials from another machine, and resolves names there.
    far: bool,
}

/// Layers a [`Guard`] over a connector that resolves names far from here: a proxy.
///
/// It judges scheme, port, names, and addresses in the URL. **Not what a name resolves to**: only
/// the proxy knows, and it has to guard what is behind it. So `ws` is refused, unless the profile
/// [allows](Profile::allow_plaintext) plaintext anywhere; and to `localhost` and loopback addresses in
/// any case, for they are the proxy's there. The way to the proxy is dialled
/// by a connector with a guard of its own, for the proxy's address: [`Guard::new`].
#[derive(Clone, Debug, Default)]
pub struct GuardLayer {
    profile: Profile,
}

// === impl Guard ===

impl<C> Guard<C> {
    /// Guards the connector that `connector` makes of a resolver, which is `resolver` with a check
    /// of its answers.
    ///
    /// It is called twice, and has to use the resolver that it is given for all names:
    /// `HttpConnector` does.
    pub fn new<R, F>(profile: Profile, resolver: R, connector: F) -> Self
    where
        R: Clone,
        F: Fn(Checked<R>) -> C,
    {
        Self {
            plain: connector(Checked::new(resolver.clone(), profile.clone(), false)),
            secure: connector(Checked::new(resolver, profile.clone(), true)),
            profile,
            far: false,
        }
    }

    /// Judges a URL: whether it is a secure one, if it may be dialled.
    fn check(&self, uri: &Uri) -> Result<bool, Failure> {
        let text = uri.host().unwrap_or_default();
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(Refused::new(Rule::Scheme, text).into()),
        };
        // What cannot be read cannot be judged.
        let host = Host::parse(text).map_err(|error| Failure::new(FailureKind::Policy, error.to_string()))?;
        let port = uri.port_u16().unwrap_or(url::default_port(secure));
        match host {
            Host::Ip(ip) => self.profile.check_dial(ip, None, secure, self.far)?,
            Host::Name(name) => self.profile.check_name(name, secure, self.far)?,
        }
        self.profile.check_port(text, port)?;
        Ok(secure)
    }
}

impl<C> Service<Uri> for Guard<C>
where
    C: Service<Uri, Error: Into<BoxError>>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Guarding<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Which of them it will be is not known yet.
        ready!(self.plain.poll_ready(cx)).map_err(Into::into)?;
        self.secure.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let step = match self.check(&uri) {
            Ok(true) => Step::Dial(self.secure.call(uri)),
            Ok(false) => Step::Dial(self.plain.call(uri)),
            Err(failure) => Step::Refused(Some(failure)),
        };
        Guarding { step }
    }
}

// === impl GuardLayer ===

impl GuardLayer {
    /// Guards by this profile.
    pub fn new(profile: Profile) -> Self {
        Self { profile }
    }
}

impl<C: Clone> Layer<C> for GuardLayer {
    type Service = Guard<C>;

    fn layer(&self, connector: C) -> Guard<C> {
        Guard {
            profile: self.profile.clone(),
            plain: connector.clone(),
            secure: connector,
            far: true,
        }
    }
}

/// The future of [`Guard`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Guarding<F> {
    #[pin]
    step: Step<F>,
}

impl<F> Guarding<F> {
    pub(crate) fn refused(refused: Refused) -> Self {
        let step = Step::Refused(Some(refused.into()));
        Self { step }
    }

    pub(crate) fn dial(dial: F) -> Self {
        Self { step: Step::Dial(dial) }
    }
}

#[pin_project(project = StepProj)]
#[derive(Debug)]
enum Step<F> {
    Dial(#[pin] F),
    /// Nothing was dialled. Taken when it is handed out.
    Refused(Option<Failure>),
}

impl<F, IO, E> Future for Guarding<F>
where
    F: Future<Output = Result<IO, E>>,
    E: Into<BoxError>,
{
    type Output = Result<IO, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().step.project() {
            StepProj::Dial(dial) => dial.poll(cx).map_err(Into::into),
            StepProj::Refused(failure) => match failure.take() {
                Some(failure) => Poll::Ready(Err(failure.into())),
                // Polled after its end, which nobody may expect anything of.
                None => Poll::Pending,
            },
        }
    }
}
