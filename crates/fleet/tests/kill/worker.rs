//! A worker: it stands by for each lane, and sends into its outbox while it owns it.

use std::{io::Write, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt, future::join_all};
use tokio::{net::TcpStream, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ws_ack::{AckLayer, Bare};
use tower_ws_core::{DropReason, Event, Outgoing, Replay, boxed, jsonrpc::Ids};
use tower_ws_fleet::{Fleet, Owned, spool::SpoolOptions};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::lines::LinesLayer;

use crate::{LANES, LEASE, ledger::is_unsafe};

pub(crate) async fn run(url: &str, peer: &str) {
    let fleet = Fleet::new(url.parse().unwrap(), "proof").lease(LEASE);
    let lanes = LANES.map(|lane| {
        let (fleet, peer) = (fleet.clone(), peer.to_owned());
        tokio::spawn(async move {
            loop {
                match fleet.lane(lane).acquire().await {
                    Ok(owned) => own(lane, &owned, &peer).await,
                    // The server is in the middle of something.
                    Err(_) => sleep(LEASE / 10).await,
                }
            }
        })
    });
    // Until it is killed.
    join_all(lanes).await;
}

/// Sends until the lane is lost.
async fn own(lane: &'static str, owned: &Owned, peer: &str) {
    // "LANE TOKEN NUMBER" awaits "ack NUMBER".
    let strategy = Bare::new(
        |sent: &String| sent.rsplit(' ').next()?.parse::<u64>().ok(),
        |came: &String| came.strip_prefix("ack ")?.parse().ok(),
    );
    let Ok(spool) = owned.spool(SpoolOptions::new(), strategy.clone()).await else {
        return;
    };
    let token = owned.token();
    let dial = {
        let peer = peer.to_owned();
        service_fn(move |()| TcpStream::connect(peer.clone()))
    };
    let stack = ServiceBuilder::new()
        .layer(QueueLayer::new().store(spool.clone()))
        .layer(AckLayer::new(strategy))
        .layer(ReconnectLayer::new())
        .layer(LinesLayer::new())
        .service(dial);
    let Ok(session) = stack.oneshot(()).await else { return };
    let (mut sink, mut events) = boxed(session).split();
    let Some(Event::Up(up)) = events.next().await else {
        return;
    };
    // Numbers go on where those of the last owner ended: the spool leaves the counter.
    let ids = up.extensions.get::<Ids>().cloned().unwrap_or_default();
    let (told, mut came_back) = tokio::sync::mpsc::unbounded_channel();
    let reads = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Dropped(item, reason) = event {
                let number = number(&item.message);
                // As a program would that writes it down: before anything else.
                if let DropReason::Interrupted(_) = reason
                    && is_unsafe(number)
                {
                    say(format_args!("interrupted {lane} {number}"));
                }
                // What is kept for the next owner is accepted.
                if item.record.is_none() {
                    let _ = told.send(number);
                }
            }
        }
    });
    while owned.is_valid() {
        let numbers: Vec<u64> = (0..fastrand::usize(1..8)).map(|_| ids.next_id()).collect();
        for number in &numbers {
            let replay = if is_unsafe(*number) {
                Replay::Unsafe
            } else {
                Replay::Safe
            };
            let message = Outgoing::new(format!("{lane} {token} {number}")).replay(replay);
            if sink.feed(message).await.is_err() {
                break;
            }
        }
        if sink.flush().await.is_err() {
            break;
        }
        // The reader has been woken for what comes back.
        sleep(Duration::from_millis(2)).await;
        let mut back = Vec::new();
        while let Some(Some(number)) = came_back.recv().now_or_never() {
            back.push(number);
        }
        for number in numbers.iter().filter(|number| !back.contains(number)) {
            say(format_args!("accepted {lane} {number}"));
        }
        sleep(Duration::from_millis(fastrand::u64(..10))).await;
    }
    drop(sink);
    let _ = reads.await;
    spool.close().await;
}

fn number(message: &str) -> u64 {
    message.rsplit(' ').next().unwrap().parse().unwrap()
}

/// In one write: a worker may be killed at any time.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
    let _ = std::io::stdout().flush();
}
