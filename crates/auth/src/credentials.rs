use std::{
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
    cache::{Asked, Cache, Held},
    credential::{Credential, Provider},
};

/// The credential of a provider, fetched once however many ask. Clones share it: so do sessions of
/// one account.
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
///   it.
/// - After a fetch that failed the provider is left alone for a second, doubled with each failure
///   up to 30 s; who asks meanwhile gets the failure at once.
/// - One that a server has [refused](Self::refused) is thrown away, unless it has been replaced
///   already. Should the provider return the same one, it is shown once more, and refused again it
///   is shown no more: accounts are locked by trying. The provider is still asked; another one is
///   shown at once.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    fetch: Box<dyn Fn() -> BoxFuture<'static, Result<Credential, BoxError>> + Send + Sync>,
    cache: Mutex<Cache>,
    fetched: Notify,
    settings: Mutex<Settings>,
}

#[derive(Clone)]
struct Settings {
    deadline: Duration,
    clock: Arc<dyn Clock>,
    dispositions: DispositionTable,
}

/// A credential that is shown to a server, and which it is: to be given back if the server refuses
/// it.
#[derive(Clone, Debug)]
pub struct IssuedCredential(Held);

impl Credentials {
    /// The default of [`ahead`](Self::ahead): 1 minute.
    pub const AHEAD: Duration = Duration::from_secs(60);

    /// The default of [`deadline`](Self::deadline): 10 s, as long as a dial may take.
    pub const DEADLINE: Duration = Duration::from_secs(10);

    /// The credentials of a provider.
    pub fn new(provider: impl Provider) -> Self {
        Self(Arc::new(Shared {
            // Boxed, so that layers need not name the provider; one allocation for each fetch.
            fetch: Box::new(move || Box::pin(provider.fetch())),
            cache: Mutex::new(Cache::new(Self::AHEAD)),
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
        self.cache().set_ahead(ahead);
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

    /// The credential to show now; fetches it if there is none. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the kind [`Auth`](FailureKind::Auth), unless the provider returned one of
    /// its own: to be tried again later, but for one of the provider's that is final.
    pub async fn get(&self) -> Result<IssuedCredential, Failure> {
        loop {
            let mut fetched = std::pin::pin!(self.0.fetched.notified());
            // Before the look, or what happens in between is missed.
            fetched.as_mut().enable();
            let wall = self.settings().clock.now();
            match self.cache().ask(Instant::now(), wall) {
                Asked::Here(held) => return Ok(IssuedCredential(held)),
                Asked::HereAndFetch(held) => {
                    self.fetch();
                    return Ok(IssuedCredential(held));
                }
                Asked::Failed(failure, wait) => return Err(failure.with_retry_after(RetryAfter::Delay(wait))),
                Asked::Fetch => self.fetch(),
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

    /// A server has refused this credential: the next who asks gets another. Returns whether it was
    /// the present one.
    pub fn refused(&self, shown: &IssuedCredential) -> bool {
        let is_present = self.cache().refused(shown.0.generation);
        if is_present {
            tracing::info!(
                generation = shown.0.generation,
                "the credential was refused: the next dial fetches another"
            );
        }
        is_present
    }

    /// A server has taken this credential.
    pub(crate) fn accepted(&self, shown: &IssuedCredential) {
        self.cache().accepted(shown.0.generation);
    }

    /// Fetches, in a task of its own: whoever asked may give up, and others may wait.
    fn fetch(&self) {
        let this = self.clone();
        let deadline = self.settings().deadline;
        let fetching = (self.0.fetch)();
        tokio::spawn(async move {
            let ended = Ended(&this);
            let outcome = match timeout(deadline, fetching).await {
                Ok(fetched) => fetched.map_err(classified),
                Err(_) => {
                    let text = format!("the credential was not fetched within {deadline:?}: is the provider up?");
                    Err(Failure::new(FailureKind::Auth, text).with_disposition(Disposition::Backoff))
                }
            };
            match &outcome {
                Ok(credential) => tracing::debug!(expires = credential.expiry().is_some(), "a credential was fetched"),
                Err(failure) => tracing::warn!(%failure, "no credential could be fetched"),
            }
            this.cache().fetched(outcome, Instant::now(), fastrand::f64());
            drop(ended);
        });
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // No code that can panic runs under this lock.
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider that panics, or a runtime that shuts down, leaves nobody waiting for ever.
struct Ended<'a>(&'a Credentials);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.cache().given_up();
        self.0.0.fetched.notify_waiters();
    }
}

impl IssuedCredential {
    /// The secret itself. Whatever it is put into must not be shown.
    pub fn secret(&self) -> &str {
        self.0.credential.secret()
    }
}

/// The provider's own classification, if it has one.
fn classified(error: BoxError) -> Failure {
    match find::<Failure>(&*error) {
        Some(failure) => failure.clone(),
        None => Failure::new(FailureKind::Auth, "the credential could not be fetched")
            .with_disposition(Disposition::Backoff)
            .with_source(error),
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
