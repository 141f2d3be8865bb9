//! One connection to the database, made again whenever it breaks, and the statements prepared on it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_postgres::{
    Client, Config, Row, Socket, Statement,
    tls::{MakeTlsConnect, TlsConnect},
    types::ToSql,
};
use tower_ws_core::Shared;

use crate::{error::FleetError, handle::Hub, hosts};

pub(crate) type Connect = dyn Fn() -> BoxFuture<'static, Result<Client, FleetError>> + Send + Sync;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to leave a database alone that could not be reached, doubled each time.
const LEAST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(1);

pub(crate) struct Link {
    connect: Arc<Connect>,
    hub: Shared<Hub>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Open>>,
    failures: u32,
    /// Not before this.
    next: Option<Instant>,
}

struct Open {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

/// How connections are made.
pub(crate) fn connector<T>(config: Config, tls: T) -> Arc<Connect>
where
    T: MakeTlsConnect<Socket, Stream: Send, TlsConnect: Send + TlsConnect<Socket, Future: Send>>
        + Clone
        + Send
        + Sync
        + 'static,
    T::Stream: 'static,
{
    let servers = hosts::each(config);
    Arc::new(move || {
        let (servers, tls) = (servers.clone(), tls.clone());
        Box::pin(async move {
            let tries = servers.into_iter().map(|config| {
                let tls = tls.clone();
                async move { config.connect(tls).await.map_err(FleetError::of) }
            });
            let (client, connection) = hosts::first(tries).await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the fleet's database ended");
                }
            });
            Ok(client)
        })
    })
}

impl Link {
    pub(crate) fn new(connect: Arc<Connect>, hub: Shared<Hub>) -> Self {
        Self {
            connect,
            hub,
            state: tokio::sync::Mutex::default(),
        }
    }

    /// Another connection to the same database.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.connect.clone(), self.hub.clone())
    }

    /// The rows of one statement, which is a transaction by itself. After `within` nobody knows
    /// whether it was done, or ever will be.
    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
        within: Duration,
    ) -> Result<Vec<Row>, FleetError> {
        let run = async |open: &Open| {
            let statement = open.prepare(sql).await?;
            open.client.query(&statement, params).await
        };
        self.run(run, within).await
    }

    /// Several statements, as they are.
    pub(crate) async fn batch(&self, sql: &'static str, within: Duration) -> Result<(), FleetError> {
        self.run(async |open: &Open| open.client.batch_execute(sql).await, within)
            .await
    }

    async fn run<R>(
        &self,
        run: impl AsyncFnOnce(&Open) -> Result<R, tokio_postgres::Error>,
        within: Duration,
    ) -> Result<R, FleetError> {
        let until = Instant::now() + within;
        let open = match timeout_at(until, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(FleetError::timed_out()),
        };
        let open = open.inspect_err(|error| self.hub.failed(error))?;
        let outcome = match timeout_at(until, run(&open)).await {
            Ok(outcome) => outcome.map_err(FleetError::of),
            Err(_) => Err(FleetError::timed_out()),
        };
        match &outcome {
            Ok(_) => self.hub.answered(),
            Err(error) => {
                self.hub.failed(error);
                if error.is_passing() {
                    // Whatever it is in the middle of, the next one begins afresh.
                    let mut state = self.state.lock().await;
                    state.open = state.open.take().filter(|now| !Arc::ptr_eq(now, &open));
                }
            }
        }
        outcome
    }

    /// The connection, made if there is none. Who waits for it waits in line.
    async fn open(&self) -> Result<Arc<Open>, FleetError> {
        let mut state = self.state.lock().await;
        if let Some(open) = &state.open
            && !open.client.is_closed()
        {
            return Ok(open.clone());
        }
        state.open = None;
        if let Some(next) = state.next {
            sleep_until(next).await;
        }
        // If nobody waits for it to the end, it has failed.
        state.put_off();
        let client = timeout(CONNECT, (self.connect)())
            .await
            .map_err(|_| FleetError::timed_out())??;
        let open = Arc::new(Open {
            client,
            statements: Mutex::default(),
        });
        *state = State {
            open: Some(open.clone()),
            ..State::default()
        };
        Ok(open)
    }
}

impl State {
    fn put_off(&mut self) {
        let longest = LEAST.saturating_mul(1 << self.failures.min(8)).min(MOST);
        self.failures += 1;
        self.next = Some(Instant::now() + longest.mul_f64(0.5 + fastrand::f64() / 2.0));
    }
}

impl Open {
    fn prepare(&self, sql: &'static str) -> impl Future<Output = Result<Statement, tokio_postgres::Error>> {
        let known = self.statements().get(sql).cloned();
        async move {
            if let Some(statement) = known {
                return Ok(statement);
            }
            let statement = self.client.prepare(sql).await?;
            self.statements().insert(sql, statement.clone());
            Ok(statement)
        }
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number that a statement has returned, if there is a row, and it is not NULL.
pub(crate) fn number(row: Option<&Row>) -> Result<Option<i64>, FleetError> {
    let number = row.map(|row| row.try_get::<_, Option<i64>>(0)).transpose();
    Ok(number.map_err(FleetError::of)?.flatten())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
