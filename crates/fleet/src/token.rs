use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use futures_core::future::BoxFuture;
use tokio::time::{sleep, timeout};
use tower_ws_auth::{Credential, Provider};
use tower_ws_core::{BoxError, Failure, FailureKind};

use crate::{error::FleetError, fleet::Shared, link::number, seal::Sealed};

const READ: &str = "SELECT generation, secret, expires FROM tower_ws_token WHERE fleet = $1 AND name = $2";
/// One at a time, and only to follow what was seen.
const CLAIM: &str = "SELECT tower_ws_claim($1, $2, $3, $4)";
const STORE: &str = "
    UPDATE tower_ws_token SET generation = generation + 1, secret = $4, expires = $5, claimed_until = '-infinity'
    WHERE fleet = $1 AND name = $2 AND claim = $3 RETURNING generation";
const UNCLAIM: &str =
    "UPDATE tower_ws_token SET claimed_until = '-infinity' WHERE fleet = $1 AND name = $2 AND claim = $3";

/// How long the one who fetches may take. After it another one may.
const CLAIMED: Duration = Duration::from_secs(60);
/// He stops sooner.
const FETCH: Duration = Duration::from_secs(45);
/// How often those who wait for him look.
const LOOK: Duration = Duration::from_millis(200);
const WITHIN: Duration = Duration::from_secs(5);
/// One that expires within this time is not taken from the database: it would be fetched anew at
/// once.
const SLACK: Duration = Duration::from_secs(10);

/// A provider of credentials that is asked once for all processes of a fleet. See [the crate
/// docs](crate#tokens).
///
/// [`Fleet::provider`](crate::Fleet::provider) makes it. It belongs into
/// [`Credentials`](tower_ws_auth::Credentials), which keeps what it gives until it expires or is
/// refused.
pub struct SharedProvider<P>(Arc<Source<P>>);

struct Source<P> {
    fleet: Shared,
    name: String,
    inner: P,
    sealed: Sealed,
    /// The generation that this process was given last. Whoever asks again has no use for it.
    given: AtomicI64,
}

/// What is in the table.
struct Kept {
    generation: i64,
    secret: Option<Vec<u8>>,
    expires: Option<SystemTime>,
}

impl<P> SharedProvider<P> {
    pub(crate) fn new(fleet: Shared, name: &str, inner: P, sealed: Sealed) -> Self {
        Self(Arc::new(Source {
            fleet,
            name: name.to_owned(),
            inner,
            sealed,
            given: AtomicI64::new(0),
        }))
    }
}

impl<P: Provider> Provider for SharedProvider<P> {
    type Future = BoxFuture<'static, Result<Credential, BoxError>>;

    fn fetch(&self) -> Self::Future {
        let source = self.0.clone();
        Box::pin(async move { source.fetch().await })
    }
}

impl<P: Provider> Source<P> {
    async fn fetch(&self) -> Result<Credential, BoxError> {
        loop {
            let kept = self.read().await.map_err(FleetError::into_failure)?;
            if let Some(credential) = self.use_of(&kept)? {
                self.given.store(kept.generation, SeqCst);
                return Ok(credential);
            }
            if let Some(claim) = self.claim(kept.generation).await.map_err(FleetError::into_failure)? {
                return self.fetch_for_all(claim).await;
            }
            // Another process fetches it.
            sleep(LOOK.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// The credential that is kept, if it is of use.
    fn use_of(&self, kept: &Kept) -> Result<Option<Credential>, BoxError> {
        let Some(secret) = &kept.secret else {
            return Ok(None);
        };
        let soon = self.fleet.clock.now() + SLACK;
        if kept.generation <= self.given.load(SeqCst) || kept.expires.is_some_and(|at| at <= soon) {
            return Ok(None);
        }
        let secret = self.sealed.open(&self.sealed_with(), secret).map_err(|unsealable| {
            // The same key will not open it the next time either.
            Failure::new(FailureKind::Auth, unsealable.to_string())
        })?;
        let credential = Credential::new(secret);
        Ok(Some(match kept.expires {
            Some(at) => credential.expires(at),
            None => credential,
        }))
    }

    /// This process fetches it, whatever becomes of those who wait.
    async fn fetch_for_all(&self, claim: i64) -> Result<Credential, BoxError> {
        let fetched = match timeout(FETCH, self.inner.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("the provider took longer than {FETCH:?}").into()),
        };
        let credential = match fetched {
            Ok(credential) => credential,
            Err(error) => {
                // Another one may try; if this is not heard, after a while.
                let _ = self.run(UNCLAIM, claim).await;
                return Err(error);
            }
        };
        match self.store(claim, &credential).await {
            Ok(Some(generation)) => self.given.store(generation, SeqCst),
            Ok(None) => tracing::warn!(token = self.name, "the credential came too late to be shared"),
            // It is good here, and the others fetch one of their own, as they would have.
            Err(error) => tracing::warn!(token = self.name, %error, "the credential could not be shared"),
        }
        tracing::info!(token = self.name, "this process has fetched the credential for all");
        Ok(credential)
    }

    async fn read(&self) -> Result<Kept, FleetError> {
        let (fleet, name) = (&*self.fleet.name, &*self.name);
        let rows = self.fleet.link.query(READ, &[&fleet, &name], WITHIN).await?;
        let Some(row) = rows.first() else {
            return Ok(Kept {
                generation: 0,
                secret: None,
                expires: None,
            });
        };
        let kept = || {
            let expires: Option<i64> = row.try_get(2)?;
            Ok(Kept {
                generation: row.try_get(0)?,
                secret: row.try_get(1)?,
                expires: expires.map(|at| SystemTime::UNIX_EPOCH + Duration::from_millis(at.max(0).unsigned_abs())),
            })
        };
        kept().map_err(FleetError::of)
    }

    async fn claim(&self, seen: i64) -> Result<Option<i64>, FleetError> {
        let (fleet, name, length) = (&*self.fleet.name, &*self.name, CLAIMED.as_millis() as i64);
        let rows = self
            .fleet
            .link
            .query(CLAIM, &[&fleet, &name, &seen, &length], WITHIN)
            .await?;
        number(rows.first())
    }

    async fn store(&self, claim: i64, credential: &Credential) -> Result<Option<i64>, BoxError> {
        let (fleet, name) = (&*self.fleet.name, &*self.name);
        let secret = self.sealed.seal(&self.sealed_with(), credential.secret())?;
        let expires = credential.expiry().map(|at| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        let rows = self
            .fleet
            .link
            .query(STORE, &[&fleet, &name, &claim, &secret, &expires], WITHIN)
            .await?;
        Ok(number(rows.first())?)
    }

    async fn run(&self, sql: &'static str, claim: i64) -> Result<(), FleetError> {
        let (fleet, name) = (&*self.fleet.name, &*self.name);
        self.fleet
            .link
            .query(sql, &[&fleet, &name, &claim], WITHIN)
            .await
            .map(drop)
    }

    /// What a secret is bound to.
    fn sealed_with(&self) -> Vec<u8> {
        // A name may hold any character but this one.
        [self.fleet.name.as_bytes(), self.name.as_bytes()].join(&0)
    }
}

impl<P> Clone for SharedProvider<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> fmt::Debug for SharedProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedProvider")
            .field("name", &self.0.name)
            .field("sealed", &self.0.sealed)
            .finish_non_exhaustive()
    }
}
