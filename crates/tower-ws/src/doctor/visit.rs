//! What can be seen of a server on a connection that is up.

use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tower_ws_core::{BoxConnection, Close, Disposition, Event, Failure, FailureKind, Outgoing};
use tower_ws_transport::{Kind, Message};

use super::{
    Cause, Details, PATIENCE,
    report::{Fault, State, Step},
};

const PINGS: u8 = 3;
/// After each answer: a server that looks at who has come, and closes, does so within three of them. Three round trips
/// to a near one are over sooner.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks, is silent for so long, and says goodbye.
pub(super) async fn visit(mut connection: BoxConnection<Message>, silence: Option<Duration>) -> Vec<Step> {
    let mut steps = match ping(&mut connection).await {
        Ok(step) => vec![step],
        Err(step) => return vec![step],
    };
    if let Some(silence) = silence {
        let (step, is_up) = hold(&mut connection, silence).await;
        steps.push(step);
        if !is_up {
            return steps;
        }
    }
    steps.push(close(connection).await);
    steps
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
            return Err(match cause.kind() {
                FailureKind::Policy => step.fault(Fault::Settings, "it is a limit of this side's: raise it, or ask for less"),
                FailureKind::Closed if cause.disposition() == Disposition::RefreshCredentials => step.fault(
                    Fault::Credentials,
                    "it takes anybody in, and then wants a credential, or another: the close code says so",
                ),
                _ => step.fault(
                    Fault::Server,
                    "it accepts and ends at once: the close code, if there is one, says why; or it wants to be told something first",
                ),
            });
        }
    }
    let took = start.elapsed();
    let mut sorted = trips.clone();
    sorted.sort();
    Ok(match sorted[..] {
        [least, median, most] => {
            let text = format!("{PINGS} of {PINGS} answered, in {least:.1?}, {median:.1?} and {most:.1?}");
            Step::new("ping", took, State::Ok, text).details(Details::Trips { trips })
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

/// Says nothing for so long. Whether the connection is up then, too.
async fn hold(connection: &mut BoxConnection<Message>, silence: Duration) -> (Step, bool) {
    let start = Instant::now();
    let ended = timeout(silence, listen(connection, None)).await;
    let held = start.elapsed();
    let cause = match ended {
        Err(_) => {
            return (
                Step::new("hold", held, State::Ok, format!("up after {held:.0?} of silence")),
                true,
            );
        }
        Ok(ended) => ended.err().flatten(),
    };
    let said = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let text = format!("cut after {held:.1?} of silence{said}");
    let step = Step::new("hold", held, State::Warning, text).fault(
        Fault::Network,
        "a load balancer or the server ends what is silent: keep health's interval well below that",
    );
    (step, false)
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
