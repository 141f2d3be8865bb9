use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode};
use hyper::rt;
use tokio::time::{Instant, timeout_at};
use tower_ws_connector::http1::Http1;
use tower_ws_core::{BoxError, Failure, FailureKind, Progress};

use super::{Refusal, Settings, UpgradeError, answer::Expected, error, request::Prepared};
use crate::framing::{Framing, upgraded};

/// One dial: connect, ask, check the answer, take the byte stream back.
pub(super) async fn dial<C, IO, E, F>(
    connecting: C,
    prepared: Prepared,
    settings: Arc<Settings<F>>,
    deadline: Instant,
) -> Result<Response<F::Socket<IO>>, UpgradeError>
where
    C: Future<Output = Result<IO, E>>,
    IO: rt::Read + rt::Write + Unpin + Send + 'static,
    E: Into<BoxError>,
    F: Framing,
{
    let (limit, target) = (settings.timeout, &prepared.target);
    let io = timeout_at(deadline, connecting)
        .await
        .map_err(|_| late("no connection to", target, limit))?
        .map_err(|error| UpgradeError::connect(error.into(), target))?;

    let (mut http, answer) = Http1::send(io, prepared.request)
        .await
        .map_err(|error| error::exchange(error, target))?;
    let answer = timeout_at(deadline, http.drive(answer))
        .await
        .map_err(|_| late("no complete answer to the upgrade from", target, limit))?
        .map_err(|error| error::exchange(error, target))?;

    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = answer.into_parts();
        let body = http.read_some(body, deadline).await;
        return Err(UpgradeError::Refused(Box::new(Refusal::new(
            head.status,
            head.headers,
            body,
        ))));
    }
    let expected = Expected::new(&prepared.key, prepared.offered, settings.mode, prepared.extends);
    expected
        .check(answer.version(), answer.headers())
        .map_err(UpgradeError::Answer)?;

    let (io, early) = timeout_at(deadline, http.into_io())
        .await
        .map_err(|_| late("no complete answer to the upgrade from", target, limit))?
        .map_err(|error| error::exchange(error, target))?;
    let progress = Progress::new();
    let stream = upgraded(io, early, progress.clone(), &settings.limits);
    let socket = settings
        .framing
        .socket(stream, &settings.limits, answer.headers())
        .await
        .map_err(UpgradeError::Answer)?;
    let mut answer = answer.map(|_| socket);
    // What hyper has left in them is a handle to an upgrade, which has been done.
    answer.extensions_mut().clear();
    answer.extensions_mut().insert(progress);
    Ok(answer)
}

fn late(what: &str, target: &str, limit: Duration) -> UpgradeError {
    UpgradeError::Timeout(Failure::new(
        FailureKind::Timeout,
        format!("{what} {target} within {limit:?}"),
    ))
}
