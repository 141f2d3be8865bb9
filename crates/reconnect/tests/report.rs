//! Each failure is reported once, classified, and with what follows.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use support::{Act, Net, refused};
use tower_ws_core::{Close, Disposition, DispositionTable, Event, Failure, FailureKind};
use tower_ws_reconnect::{Follows, Incident, ReconnectLayer};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_failure_is_reported_once() {
    let fatal = refused().with_disposition(Disposition::Final);
    let net = Net::new(move |n| match n {
        1 => Act::Refuse(refused()),
        2 => Act::Drop(60 * SECOND, None),
        3 => Act::Refuse(refused()),
        _ => Act::Refuse(fatal.clone()),
    });
    let seen = Arc::new(Mutex::new(Vec::<Incident>::new()));
    let log = seen.clone();
    let (layer, handle) = ReconnectLayer::pair();
    let layer = layer
        .seed(1)
        .refusals_final_after(Duration::ZERO)
        .reporter(move |incident: &Incident| log.lock().unwrap().push(incident.clone()));
    let mut session = net.session(layer).await.unwrap();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    // Planning anew is no failure.
    let nagging = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if matches!(&*handle.state().borrow(), tower_ws_reconnect::State::BackingOff { .. }) {
                handle.reconnect_now();
            }
        }
    });
    while session.next().await.is_some() {}
    nagging.abort();

    let seen = seen.lock().unwrap();
    let told: Vec<_> = seen
        .iter()
        .map(|incident| (incident.epoch, incident.attempt, incident.uptime.is_some()))
        .collect();
    assert_eq!(told, [(0, 2, false), (1, 1, true), (1, 2, false), (1, 3, false)]);
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(last.follows, Follows::End);
    for incident in before {
        assert!(matches!(incident.follows, Follows::Retry(_)), "{incident:?}");
        assert_eq!(incident.failure.kind(), FailureKind::Network);
    }
}

/// The table decides for the policy, the events and the report alike.
#[tokio::test(start_paused = true)]
async fn failures_are_judged_by_the_table_of_the_session() {
    let closed = |code| {
        Failure::closed(Close {
            code,
            reason: String::new(),
        })
    };
    // By the default table the first is final and the second is not.
    let net = Net::new(move |n| match n {
        1 => Act::Drop(60 * SECOND, Some(closed(4403))),
        _ => Act::Drop(60 * SECOND, Some(closed(4500))),
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let layer = ReconnectLayer::new()
        .seed(1)
        .dispositions(DispositionTable::graphql_ws())
        .reporter(move |incident: &Incident| log.lock().unwrap().push(incident.failure.disposition()));
    let mut session = net.session(layer).await.unwrap();
    let mut downs = Vec::new();
    while let Some(event) = session.next().await {
        if let Event::Down(down) = event {
            downs.push((down.cause.disposition(), down.will_retry));
        }
    }
    assert_eq!(downs, [(Disposition::Backoff, true), (Disposition::Final, false)]);
    assert_eq!(*seen.lock().unwrap(), [Disposition::Backoff, Disposition::Final]);
}
