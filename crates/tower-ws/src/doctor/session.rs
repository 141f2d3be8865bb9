//! The dial itself, by the builder's own parts, and what follows on the connection.

use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_ws_connector::WsUrl;
use tower_ws_core::{BoxConnection, Close, Event, Failure, FailureKind, Outgoing, Up, find};
use tower_ws_transport::{Handshake, Kind, Message, Refusal};

use super::{
    Cause,
    report::{Fault, State, Step},
};
use crate::builder::Builder;

const PINGS: u8 = 3;
const PATIENCE: Duration = Duration::from_secs(5);
/// After each answer: a server that looks at who has come, and closes, does so within three of them. Three round trips
/// to a near one are over sooner.
const PAUSE: Duration = Duration::from_millis(100);

/// How the dial went, and why not if it did not.
pub(super) struct Dialled {
    pub(super) step: Step,
    /// What the server said of itself, where a layer asks.
    pub(super) introduced: Option<Step>,
    failure: Option<Failure>,
}

/// This side forbids it.
pub(super) fn is_forbidden(dial: &Dialled) -> bool {
    let kind = dial.failure.as_ref().map(Failure::kind);
    matches!(kind, Some(FailureKind::Policy | FailureKind::Usage))
}

pub(super) async fn dial(builder: Builder, url: &WsUrl) -> (Dialled, Option<BoxConnection<Message>>) {
    let shows = builder.shows_credentials();
    let start = Instant::now();
    let dialled = match crate::assemble::dial(builder) {
        Ok((dial, request)) => dial.oneshot(request).await,
        Err(error) => Err(error.0),
    };
    let took = start.elapsed();
    let failed = |step, failure| {
        let dialled = Dialled {
            step,
            introduced: None,
            failure,
        };
        (dialled, None)
    };
    let mut connection = match dialled {
        Ok(connection) => connection,
        Err(error) => {
            let status = find::<Refusal>(&*error).map(|refusal| refusal.status().as_u16());
            let failure = Failure::of(error);
            return failed(refused(took, &failure, status, shows), Some(failure));
        }
    };
    let first = timeout(PATIENCE, connection.next()).await;
    let Ok(Some(Event::Up(up))) = first else {
        let kind = first.map_or(FailureKind::Timeout, |_| FailureKind::Network);
        let step = Step::failed("dial", took, kind, "the connection did not come up");
        return failed(step.fault(Fault::Server, "it ends connections before they begin"), None);
    };
    let step = Step::new("dial", took, State::Ok, answered(url, &up));
    let dialled = Dialled {
        step,
        #[cfg(feature = "mcp")]
        introduced: super::mcp::introduced(&up),
        #[cfg(not(feature = "mcp"))]
        introduced: None,
        failure: None,
    };
    (dialled, Some(connection))
}

/// What can be seen of a server on a connection that is up.
pub(super) async fn visit(mut connection: BoxConnection<Message>) -> Vec<Step> {
    match ping(&mut connection).await {
        Ok(step) => vec![step, close(connection).await],
        Err(step) => vec![step],
    }
}

/// What is worth telling of a handshake that succeeded. In the server's headers, its choice of a subprotocol among
/// them, it may repeat a secret: they are not told.
fn answered(url: &WsUrl, up: &Up) -> String {
    let what = if url.is_secure() {
        "TLS and the upgrade"
    } else {
        "the upgrade"
    };
    let handshake = up.extensions.get::<Handshake>();
    match handshake.and_then(Handshake::subprotocol) {
        Some(_) => format!("{what} succeeded, with one of the subprotocols that were offered"),
        None => format!("{what} succeeded"),
    }
}

/// Whose fault it is that the dial failed, and what to do.
fn refused(took: Duration, failure: &Failure, status: Option<u16>, shows: bool) -> Step {
    let cause = Cause::of(failure, SystemTime::now());
    let wait = cause
        .retry_after
        .map(|wait| format!("; it asks to be left alone for {} s", wait.as_secs()));
    let step = Step::failed("dial", took, cause, failure.to_string());
    let (fault, advice) = match (status.or(failure.status()), failure.kind()) {
        (Some(401 | 403), _) if shows => (
            Fault::Credentials,
            "the credential that was shown is not good: get another, or ask what this account may do",
        ),
        (Some(401 | 403), _) => (Fault::Credentials, "no credential was shown: `bearer`, `auth`"),
        (Some(407), _) => (Fault::Proxy, "give the proxy its credentials"),
        (Some(404), _) => (
            Fault::Settings,
            "there is no such path on this server: look at the address",
        ),
        (Some(400 | 426), _) => (
            Fault::Settings,
            "the server does not take this for a WebSocket's request: look at path, headers and subprotocols",
        ),
        (Some(300..=399), _) => (Fault::Settings, "the server sends clients elsewhere: use that address"),
        (Some(429), _) => (Fault::Server, "it has had too much: come less often"),
        (Some(500..), _) => (Fault::Server, "it is in trouble, or being replaced: it is tried again"),
        (Some(_), _) => (
            Fault::Server,
            "it answers as a web server does: is this a WebSocket's address, and does a proxy before it pass `Upgrade` on?",
        ),
        (None, FailureKind::Dns) => (Fault::Names, "look at the name, and at this machine's resolver"),
        (None, FailureKind::Tls) => (
            Fault::Tls,
            "trust its authority, correct the server's certificate, or find out who opens TLS on the way",
        ),
        (None, FailureKind::Proxy) => (Fault::Proxy, "look at the proxy, and whether it lets this address pass"),
        (None, FailureKind::Auth) => (Fault::Credentials, "look at where the credential comes from"),
        (None, FailureKind::Policy | FailureKind::Usage) => (
            Fault::Settings,
            "it is this side that forbids it: the text says how to allow it",
        ),
        (None, FailureKind::Throttled) => (Fault::Server, "it has had too much: come less often"),
        (None, FailureKind::Handshake | FailureKind::Protocol | FailureKind::Closed) => (
            Fault::Server,
            "it does not speak WebSocket, or what is to be spoken over it, as it should",
        ),
        (None, FailureKind::Timeout) => (
            Fault::Server,
            "something on the way takes connections and does not answer: the server, or a proxy before it",
        ),
        (None, _) => (
            Fault::Network,
            "the connection could not be had, or broke: look at the network between",
        ),
    };
    step.fault(fault, format!("{advice}{}", wait.unwrap_or_default()))
}

/// Three round trips; an error if the connection ends meanwhile.
async fn ping(connection: &mut BoxConnection<Message>) -> Result<Step, Step> {
    let start = Instant::now();
    let mut trips = Vec::new();
    for nonce in 0..PINGS {
        let asked = Instant::now();
        let ping = Outgoing::new(Message::ping(vec![nonce])).control();
        let answered = async {
            // What refuses it tells why as it is read.
            let _ = connection.send(ping).await;
            listen(connection, Some(nonce)).await
        };
        let heard = match timeout(PATIENCE, answered).await {
            Ok(Ok(())) => {
                trips.push(asked.elapsed());
                timeout(PAUSE, listen(connection, None)).await
            }
            Ok(ended) => Ok(ended),
            Err(_) => break,
        };
        if let Ok(Err(cause)) = heard {
            let cause = cause.unwrap_or_else(|| Failure::new(FailureKind::Network, "the connection ended"));
            let text = format!("up, and then: {cause}");
            let step = Step::failed("ping", start.elapsed(), Cause::of(&cause, SystemTime::now()), text);
            return Err(step.fault(
                Fault::Server,
                "it accepts and ends at once: the close code, if there is one, says why; or it wants to be told something first",
            ));
        }
    }
    let took = start.elapsed();
    trips.sort();
    Ok(match trips[..] {
        [least, median, most] => {
            let text = format!("{PINGS} of {PINGS} answered, in {least:.1?}, {median:.1?} and {most:.1?}");
            Step::new("ping", took, State::Ok, text)
        }
        _ => {
            let text = format!("{} of {PINGS} answered, the next not within {PATIENCE:?}", trips.len());
            Step::new("ping", took, State::Warning, text).fault(
                Fault::Server,
                "it answers no pings: a connection on which nothing comes in for 40 s is given up",
            )
        }
    })
}

/// Reads up to the answer to this ping; for ever if there is none. An error if the connection ends, with the reason if
/// there is one.
async fn listen(connection: &mut BoxConnection<Message>, ping: Option<u8>) -> Result<(), Option<Failure>> {
    loop {
        match connection.next().await {
            Some(Event::Message(message)) => match (message.kind(), message.as_bytes(), ping) {
                (Kind::Pong, [answered], Some(asked)) if *answered == asked => return Ok(()),
                // It has said goodbye, whatever it answers still. Its reason may repeat a secret: only the code is
                // told.
                (Kind::Close, ..) => {
                    let code = message.as_close().map(|close| close.code);
                    return Err(code.map(|code| {
                        Failure::closed(Close {
                            code,
                            reason: String::new(),
                        })
                    }));
                }
                _ => {}
            },
            Some(Event::Down(down)) => return Err(Some(down.cause)),
            Some(_) => {}
            None => return Err(None),
        }
    }
}

/// Whether the server says goodbye.
async fn close(mut connection: BoxConnection<Message>) -> Step {
    let start = Instant::now();
    let closed = async {
        let _ = connection.close().await;
        while let Some(event) = connection.next().await {
            if let Event::Down(down) = event {
                return Some(down.cause);
            }
        }
        None
    };
    let closed = timeout(2 * PATIENCE, closed).await.ok().flatten();
    let took = start.elapsed();
    match closed {
        Some(cause) if cause.kind() == FailureKind::Local || cause.close().is_some() => {
            Step::new("close", took, State::Ok, cause.to_string())
        }
        Some(cause) => Step::new("close", took, State::Warning, cause.to_string()).fault(
            Fault::Server,
            "it ends connections without a word: harmless, but for its own clients",
        ),
        None => Step::new("close", took, State::Warning, "the server does not answer to a goodbye")
            .fault(Fault::Server, "each close takes its whole deadline"),
    }
}
