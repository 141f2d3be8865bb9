//! However a server sends its clients away, the recommended stack dials it seldom, and all of them
//! do not come back at once.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use support::{SECOND, bounded, millis};
use tokio::time::{Instant, sleep, timeout_at};
use tower::{Layer, ServiceExt};
use tower_ws::{
    Incoming,
    client::ClientLayer,
    core::{Close, Failure},
    reconnect::ReconnectLayer,
    transport::{JsonText, memory},
};
use tower_ws_test_kit::{Cut, Script, Server};

const WINDOW: Duration = Duration::from_secs(10);

/// How the session fares.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It goes on, with so many dials within the window.
    Lives { least: usize, most: usize },
    /// It ends, after so many dials.
    Ends(usize),
}

const STORM: Fate = Fate::Lives { least: 3, most: 6 };

fn cases() -> Vec<(Script, Fate)> {
    let busy = |code| Script::status(code, &[("Retry-After", "30")]);
    let mut cases = vec![
        (Script::fin(), STORM),
        (Script::rst(), STORM),
        (Script::CutMidFrame(Cut::Fin), STORM),
        (Script::CutBeforeReply(Cut::Rst), STORM),
        (Script::CutMidReply(Cut::Fin), STORM),
        (Script::Fin { after: SECOND }, STORM),
        (Script::Rst { after: 4 * SECOND }, Fate::Lives { least: 2, most: 4 }),
        (Script::BadOpcode, STORM),
        // Each connection takes a second more, for a peer that has said goodbye and stays.
        (
            Script::CloseNoFin {
                code: 1001,
                reason: String::new(),
            },
            Fate::Lives { least: 2, most: 5 },
        ),
        (Script::close(1012, ""), Fate::Lives { least: 1, most: 2 }),
        (Script::close(1013, ""), Fate::Lives { least: 1, most: 1 }),
        (busy(503), Fate::Lives { least: 1, most: 1 }),
        (busy(429), Fate::Lives { least: 1, most: 1 }),
        (Script::status(401, &[]), Fate::Ends(2)),
        (Script::close(4401, ""), Fate::Ends(2)),
        (Script::close(1000, "another connection took over"), Fate::Ends(1)),
    ];
    cases.extend([1000, 1001, 1011, 4999].map(|code| (Script::close(code, ""), STORM)));
    cases.extend([500, 502, 503, 504].map(|code| (Script::status(code, &[]), STORM)));
    cases.extend([1002, 1008, 4403, 4409].map(|code| (Script::close(code, "no"), Fate::Ends(1))));
    cases.extend([302, 403, 404].map(|code| (Script::status(code, &[]), Fate::Ends(1))));
    cases
}

/// Runs a session until it ends. Returns why.
async fn session(url: String) -> Failure {
    let (_client, mut inbound) = match tower_ws::connect(url).await {
        Ok(connected) => connected,
        Err(error) => return error.failure(),
    };
    let mut last = None;
    while let Some(item) = inbound.next().await {
        if let Incoming::Down(down) = item {
            last = Some(down);
        }
    }
    let last = last.expect("a session that came up goes down");
    assert!(!last.will_retry, "the last one says so");
    last.cause
}

async fn play(script: Script, fate: Fate) {
    let server = Server::start(script.clone()).await.unwrap();
    let started = Instant::now();
    let ended = timeout_at(started + WINDOW, session(server.url())).await;
    let dials = server.dials();
    match (fate, ended) {
        (Fate::Lives { least, most }, Err(_)) => {
            assert!(
                (least..=most).contains(&dials),
                "{dials} dials within {WINDOW:?}: {script:?}"
            );
        }
        (Fate::Ends(after), Ok(cause)) => {
            assert_eq!(dials, after, "dials: {script:?}");
            match &script {
                Script::Status { code, .. } => assert_eq!(cause.status(), Some(*code)),
                Script::Close { code, reason, .. } => {
                    assert_eq!(
                        cause.close(),
                        Some(&Close {
                            code: *code,
                            reason: reason.clone()
                        })
                    );
                }
                other => panic!("{other:?}"),
            }
            // And it stays ended.
            sleep(millis(1_500)).await;
            assert_eq!(server.dials(), after, "{script:?}");
        }
        (fate, ended) => panic!("{fate:?}, but {ended:?}: {script:?}"),
    }
}

#[tokio::test]
async fn every_way_of_being_sent_away() {
    bounded(join_all(cases().into_iter().map(|(script, fate)| play(script, fate)))).await;
}

/// A thousand clients are up for a minute and lose their connections at the same moment; after that
/// the server is away for so long. Returns how many dials there were in each tenth of a second.
async fn herd(away: Duration) -> Vec<usize> {
    const CLIENTS: u64 = 1_000;
    let (memory, mut listener) = memory::channel::<String>(4);
    let mut sessions = Vec::new();
    let mut peers = Vec::new();
    for seed in 0..CLIENTS {
        let stack = ClientLayer::new(JsonText).layer(ReconnectLayer::new().seed(seed).layer(memory.clone()));
        let (session, peer) = tokio::join!(stack.oneshot(()), listener.accept());
        sessions.push(session.unwrap());
        peers.push(peer);
    }
    sleep(60 * SECOND).await;
    peers.clear();

    let (lost, mut buckets) = (Instant::now(), Vec::new());
    while peers.len() < CLIENTS as usize {
        if lost.elapsed() < away {
            listener.refuse().await;
        } else {
            peers.push(listener.accept().await);
        }
        let bucket = (lost.elapsed().as_millis() / 100) as usize;
        buckets.resize(buckets.len().max(bucket + 1), 0);
        buckets[bucket] += 1;
    }
    buckets
}

#[tokio::test(start_paused = true)]
async fn a_herd_of_a_thousand_spreads() {
    // Ten buckets of a hundred, had the dice no scatter.
    let restart = herd(Duration::ZERO).await;
    assert!(restart.len() <= 11, "within a second, as documented: {restart:?}");
    assert!(restart.iter().all(|&dials| dials <= 140), "{restart:?}");
    // After an outage the delays are longer, and so are the queues at the door shorter.
    let outage = herd(60 * SECOND).await;
    assert!(outage.iter().all(|&dials| dials <= 140), "{outage:?}");
    assert!(outage[600..].iter().all(|&dials| dials <= 40), "{:?}", &outage[600..]);
}
