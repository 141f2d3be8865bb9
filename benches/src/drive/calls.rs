//! Calls: as many tasks as the window is wide, each waiting for its answer before it calls again.

use std::convert::Infallible;
use std::future::pending;

use tokio::task::JoinSet;

use crate::BoxError;
use crate::kind::Target;
use crate::meter::Meter;

/// A client of JSON-RPC that many tasks share.
pub(crate) trait Caller: Clone + Send + 'static {
    /// Calls `echo` with `[text]` and yields the result.
    fn call(&self, text: &str) -> impl Future<Output = Result<String, BoxError>> + Send;
}

/// Starts the callers; each ends only if an answer is wrong.
pub(crate) fn spawn<C: Caller>(
    tasks: &mut JoinSet<Result<Infallible, BoxError>>,
    client: &C,
    target: &Target,
    meter: &Meter,
) {
    for first in 0..target.window {
        tasks.spawn(caller(client.clone(), target.clone(), meter.clone(), first));
    }
}

/// Waits for the first task that fails; for ever if there is none, as in a client that is idle.
pub(crate) async fn first_failure(mut tasks: JoinSet<Result<Infallible, BoxError>>) -> Result<Infallible, BoxError> {
    match tasks.join_next().await {
        Some(ended) => ended?,
        None => pending().await,
    }
}

async fn caller<C: Caller>(client: C, target: Target, meter: Meter, first: u64) -> Result<Infallible, BoxError> {
    let mut nth = first;
    loop {
        let result = client.call(target.payloads.text(nth)).await?;
        target.payloads.check(nth, result.as_bytes())?;
        meter.add(1);
        nth += 1;
    }
}
