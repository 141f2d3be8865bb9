use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tower_ws_core::{
    BoxError, Clock, Disposition, DispositionTable, Failure, FailureKind, RetryAfter, SystemClock, find,
};

use crate::{
    cache::{Asked, Held},
    credential::{Credential, Provider},
    endpoints::Endpoints,
};

/// The credential of a provider, fetched once for each endpoint however many ask. Clones share it: so do
/// sessions of one account.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_ws_auth::{Credential, Credentials};
///
/// let credentials = Credentials::new(|| async {
///     // From a token endpoint, say.
///     let token = "s3cr3t".to_owned();
///     Ok(Credential::new(token).expires(SystemTime::now() + Duration::from_secs(3600)))
/// });
/// let also = credentials.clone();
/// ```
///
/// - It is fetched when it is first asked for, and kept. One that expires is renewed [a minute
///   ahead](Self::ahead), by whoever asks then, in the background: the old one is shown meanwhile.
///   It is not shown within its last five seconds.
/// - A fetch has [10 s](Self::deadline). It goes on if whoever asked gives up: others may wait for
///   it. One that ends without a word, since the provider panicked or its runtime ended, has failed.
/// - After a fetch that failed the provider is left alone for a second, doubled with each failure
///   up to 30 s; who asks meanwhile gets the failure at once.
/// - One that a server has [refused](Self::refused) is thrown away, unless it has been replaced
///   already. Should the provider return the same one, it is shown once more, and refused again it
///   is shown no more: accounts are locked by trying. The provider is still asked; another one is
///   shown at once.
/// - Each endpoint (scheme, host and port: those of a failover, say) has its own. What one server
///   refuses is thrown away for that one only, and the provider is asked for each. Of
///   [`new`](Self::new) and [`fixed`](Self::fixed) it is not told for which, so **the same secret may go
///   to each**; [`per_endpoint`](Self::per_endpoint) tells it. At most 64 endpoints are remembered.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    fetch: Box<Fetch>,
    endpoints: Mutex<Endpoints>,
    fetched: Notify,
    settings: Mutex<Settings>,
}

// Boxed, so that layers need not name the provider; one allocation for each fetch.
type Fetch = dyn Fn(&str) -> BoxFuture<'static, Result<Credential, BoxError>> + Send + Sync;

#[derive(Clone)]
struct Settings {
    deadline: Duration,
    clock: Arc<dyn Clock>,
    dispositions: DispositionTable,
}

/// A credential that is shown to a server, and which it is: to be given back if the server refuses
/// it.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    held: Held,
    endpoint: Arc<str>,
}

impl Credentials {
    /// The default of [`ahead`](Self::ahead): 1 minute.
    pub const AHEAD: Duration = Duration::from_secs(60);

    /// The default of [`deadline`](Self::deadline): 10 s, as long as a dial may take.
    pub const DEADLINE: Duration = Duration::from_secs(10);

    /// The credentials of a provider.
    pub fn new(provider: impl Provider) -> Self {
        Self::of(Box::new(move |_| Box::pin(provider.fetch())))
    }

    /// The credentials of a provider that is told for which endpoint: a secret that one server is shown
    /// need not be good for another.
    ///
    /// ```
    /// use tower_ws_auth::{Credential, Credentials};
    ///
    /// let credentials = Credentials::per_endpoint(|endpoint: String| async move {
    ///     match &*endpoint {
    ///         "wss://one.example:443" => Ok(Credential::new("s3cr3t-one")),
    ///         "wss://two.example:443" => Ok(Credential::new("s3cr3t-two")),
    ///         _ => Err("no credential for this endpoint".into()),
    ///     }
    /// });
    /// ```
    ///
    /// The endpoint is scheme, host and port of what is dialled, in lower case; empty for a
    /// [`LoginLayer`](crate::LoginLayer) over a transport that does not say.
    pub fn per_endpoint<F, Fut>(provider: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credential, BoxError>> + Send + 'static,
    {
        Self::of(Box::new(move |endpoint| Box::pin(provider(endpoint.to_owned()))))
    }

    fn of(fetch: Box<Fetch>) -> Self {
        Self(Arc::new(Shared {
            fetch,
            endpoints: Mutex::new(Endpoints::new(Self::AHEAD)),
            fetched: Notify::new(),
            settings: Mutex::new(Settings {
                deadline: Self::DEADLINE,
                clock: Arc::new(SystemClock),
                dispositions: DispositionTable::default(),
            }),
        }))
    }

    /// One that never changes. Once it is refused there is no other.
    pub fn fixed(secret: impl Into<secrecy::SecretString>) -> Self {
        let credential = Credential::new(secret);
        Self::new(move || std::future::ready(Ok(credential.clone())))
    }

    /// Sets how long before it expires a credential is renewed. Holds for all clones.
    #[must_use]
    pub fn ahead(self, ahead: Duration) -> Self {
        self.endpoints().set_ahead(ahead);
        self
    }

    /// Sets how long a fetch may take. Holds for all clones.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.settings().deadline = deadline;
        self
    }

    /// Sets the clock that expiry is read from. Default: the system's. Holds for all clones.
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        self.settings().clock = Arc::new(clock);
        self
    }

    /// Sets which failures mean that a credential was refused: those for which the table says
    /// [`RefreshCredentials`](Disposition::RefreshCredentials). Give it the table that reconnect
    /// has, or let the builder of `tower-ws` do it. Default: the documented one. Holds for all
    /// clones.
    #[must_use]
    pub fn dispositions(self, table: DispositionTable) -> Self {
        self.settings().dispositions = table;
        self
    }

    /// The credential to show now to whoever it is: that of the endpoint without a name. See
    /// [`get_for`](Self::get_for).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get(&self) -> Result<IssuedCredential, Failure> {
        self.get_for("").await
    }

    /// The credential to show now to an endpoint, such as `wss://server.example:443`; fetches it if
    /// there is none. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the kind [`Auth`](FailureKind::Auth), unless the provider returned one of
    /// its own: to be tried again later, but for one of the provider's that is final.
    pub async fn get_for(&self, endpoint: &str) -> Result<IssuedCredential, Failure> {
        let endpoint = Arc::<str>::from(endpoint);
        loop {
            let mut fetched = std::pin::pin!(self.0.fetched.notified());
            // Before the look, or what happens in between is missed.
            fetched.as_mut().enable();
            let clock = self.settings().clock.clone();
            // In a statement of its own: the lock must be free when a fetch begins, which may end at once.
            let asked = self.endpoints().of(&endpoint).ask(Instant::now(), clock.now());
            let issued = |held| IssuedCredential {
                held,
                endpoint: endpoint.clone(),
            };
            match asked {
                Asked::Here(held) => return Ok(issued(held)),
                Asked::HereAndFetch(held) => {
                    self.fetch(endpoint.clone());
                    return Ok(issued(held));
                }
                Asked::Failed(failure, wait) => return Err(failure.with_retry_after(RetryAfter::Delay(wait))),
                Asked::Fetch => self.fetch(endpoint.clone()),
                Asked::Wait => {}
            }
            fetched.await;
        }
    }

    /// Throws the credential away if that is what a failure is about.
    pub(crate) fn discard_if_refused(&self, failure: &Failure, shown: &IssuedCredential) {
        let disposition = self.settings().dispositions.lookup(failure);
        if disposition == Disposition::RefreshCredentials {
            self.refused(shown);
        }
    }

    /// A server has refused this credential: the next who asks for this endpoint gets another. Returns
    /// whether it was the present one.
    pub fn refused(&self, shown: &IssuedCredential) -> bool {
        let is_present = self.endpoints().of(&shown.endpoint).refused(shown.held.generation);
        if is_present {
            tracing::info!(
                generation = shown.held.generation,
                "the credential was refused: the next dial fetches another"
            );
        }
        is_present
    }

    /// A server has taken this credential.
    pub(crate) fn accepted(&self, shown: &IssuedCredential) {
        self.endpoints().of(&shown.endpoint).accepted(shown.held.generation);
    }

    /// Fetches, in a task of its own: whoever asked may give up, and others may wait.
    fn fetch(&self, endpoint: Arc<str>) {
        let deadline = self.settings().deadline;
        // Before the task: it may be dropped before it has begun.
        let mut fetching = Fetching {
            credentials: self.clone(),
            endpoint,
            outcome: None,
        };
        tokio::spawn(async move {
            let fetch = (fetching.credentials.0.fetch)(&fetching.endpoint);
            fetching.end(match timeout(deadline, fetch).await {
                Ok(fetched) => fetched.map_err(classified),
                Err(_) => Err(failed(format!(
                    "the credential was not fetched within {deadline:?}: is the provider up?"
                ))),
            });
        });
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        // No code that can panic runs under this lock.
        self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch under way. However it ends, also by a panic of the provider or with its runtime, those who
/// wait hear of it.
struct Fetching {
    credentials: Credentials,
    endpoint: Arc<str>,
    outcome: Option<Result<Credential, Failure>>,
}

impl Fetching {
    fn end(&mut self, outcome: Result<Credential, Failure>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            Err(failed(
                "the fetch of the credential ended without a word: the provider panicked, or its runtime ended",
            ))
        });
        match &outcome {
            Ok(credential) => tracing::debug!(expires = credential.expiry().is_some(), "a credential was fetched"),
            Err(failure) => tracing::warn!(%failure, "no credential could be fetched"),
        }
        let mut endpoints = self.credentials.endpoints();
        endpoints
            .of(&self.endpoint)
            .fetched(outcome, Instant::now(), fastrand::f64());
        drop(endpoints);
        self.credentials.0.fetched.notify_waiters();
    }
}

impl IssuedCredential {
    /// The secret itself. Whatever it is put into must not be shown.
    pub fn secret(&self) -> &str {
        self.held.credential.secret()
    }
}

/// The provider's own classification, if it has one.
fn classified(error: BoxError) -> Failure {
    match find::<Failure>(&*error) {
        Some(failure) => failure.clone(),
        None => failed("the credential could not be fetched").with_source(error),
    }
}

fn failed(text: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::Auth, text).with_disposition(Disposition::Backoff)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
