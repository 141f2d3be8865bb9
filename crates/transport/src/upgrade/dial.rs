use std::{pin::pin, sync::Arc, time::Duration};

use http::{Response, StatusCode};
use hyper::rt;
use tokio::time::{Instant, timeout_at};
use tower_ws_connector::{Stage, Trace, http1::Http1};
use tower_ws_core::{BoxError, Failure, FailureKind, Progress, Server};

use super::{Refusal, Settings, UpgradeError, answer::Expected, error, request::Prepared};
use crate::framing::{Framing, upgraded};

/// One dial. What became of it the connector learns for the next.
pub(super) async fn dial<C, IO, E, F>(
    connecting: C,
    prepared: Prepared,
    settings: Arc<Settings<F>>,
    deadline: Instant,
    trace: Trace,
) -> Result<Response<F::Socket<IO>>, UpgradeError>
where
    C: Future<Output = Result<IO, E>>,
    IO: rt::Read + rt::Write + Unpin + Send + 'static,
    E: Into<BoxError>,
    F: Framing,
{
    let dialled = open(connecting, prepared, settings, deadline, &trace).await;
    match &dialled {
        Err(UpgradeError::Connect(_) | UpgradeError::Timeout(_) | UpgradeError::Broken(_)) => trace.unanswered(),
        _ => trace.answered(),
    }
    dialled
}

/// Connect, ask, check the answer, take the byte stream back.
async fn open<C, IO, E, F>(
    connecting: C,
    prepared: Prepared,
    settings: Arc<Settings<F>>,
    deadline: Instant,
    trace: &Trace,
) -> Result<Response<F::Socket<IO>>, UpgradeError>
where
    C: Future<Output = Result<IO, E>>,
    IO: rt::Read + rt::Write + Unpin + Send + 'static,
    E: Into<BoxError>,
    F: Framing,
{
    let target = &prepared.target;
    let time = Time {
        target,
        limit: settings.timeout,
        deadline,
    };
    let connecting = time.bound(trace.watch(connecting), || trace.waits_for()).await?;
    let io = connecting.map_err(|error| UpgradeError::connect(error.into(), target))?;

    let (mut http, answer) = Http1::send(io, prepared.request)
        .await
        .map_err(|error| error::exchange(error, target))?;
    let answer = time
        .bound(http.drive(answer), || ANSWER)
        .await?
        .map_err(|error| error::exchange(error, target))?;

    trace.enter(|| Stage::Answered(answer.status()).note());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = answer.into_parts();
        let body = http.read_some(body, deadline).await;
        let refusal = Refusal::new(head.status, head.headers, body);
        return Err(UpgradeError::Refused(refusal.by(target, &prepared.secrets)));
    }
    let expected = Expected::new(&prepared.key, prepared.offered, settings.mode, prepared.extends);
    expected
        .check(answer.version(), answer.headers(), &prepared.secrets)
        .map_err(UpgradeError::Answer)?;

    let (io, early) = time
        .bound(http.into_io(), || ANSWER)
        .await?
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
    answer.extensions_mut().insert(Server::new(prepared.target));
    answer.extensions_mut().insert(prepared.secrets);
    Ok(answer)
}

/// What is waited for once there is a byte stream.
const ANSWER: &str = "connected, the answer to the upgrade was waited for";

/// After so long a step of a dial is worth a word, whoever looks at the log.
const WORTH_A_WORD: Duration = Duration::from_secs(3);

/// How long a dial may take.
struct Time<'a> {
    target: &'a str,
    limit: Duration,
    deadline: Instant,
}

impl Time<'_> {
    /// Waits for a step until the dial's time is up. `waiting` says what for.
    async fn bound<F: Future>(&self, step: F, waiting: impl Fn() -> &'static str) -> Result<F::Output, UpgradeError> {
        let mut step = pin!(step);
        let word = (Instant::now() + WORTH_A_WORD).min(self.deadline);
        if let Ok(done) = timeout_at(word, &mut step).await {
            return Ok(done);
        }
        if word < self.deadline {
            tracing::info!(server = self.target, step = waiting(), "the dial takes long");
        }
        timeout_at(self.deadline, step).await.map_err(|_| {
            let (target, limit) = (self.target, self.limit);
            let text = format!("no connection to {target} within {limit:?}: {}", waiting());
            UpgradeError::Timeout(Failure::new(FailureKind::Timeout, text))
        })
    }
}
