//! What is done with a session, whatever it runs over.

use futures_util::future::join_all;
use serde_json::Value;
use tower_ws::{CallError, Client, Inbound, Incoming, Request, core::Replay};

use crate::{
    server::Book,
    support::{SECOND, bounded},
};

/// How many calls are under way at a time.
const CALLS: u64 = 10;

pub(crate) async fn play(client: Client, inbound: Inbound, book: &Book) {
    let watching = tokio::spawn(watch(inbound));

    // The server is gone when it has read half of them, and the answers of some.
    book.cut_at(CALLS / 2);
    let calls = (0..CALLS).map(|n| echo(&client, n, Replay::Safe));
    for (n, answered) in (0..).zip(bounded(join_all(calls)).await) {
        assert_eq!(answered.unwrap(), n);
    }
    assert_eq!(book.first_seen(), (0..CALLS).collect::<Vec<_>>(), "in order");
    assert!(book.times(CALLS / 2) >= 2, "it was sent again");
    assert!(book.connections() >= 2);

    // What must not be sent twice is not: its caller learns that nobody knows.
    book.cut_at(CALLS);
    let interrupted = bounded(echo(&client, CALLS, Replay::Unsafe)).await;
    assert!(matches!(interrupted, Err(CallError::Interrupted(_))), "{interrupted:?}");
    assert_eq!(book.times(CALLS), 1);

    // A peer that has stopped reading and is not gone: only a probe tells.
    let before = book.connections();
    book.deaf_at(CALLS + 1);
    assert_eq!(
        bounded(echo(&client, CALLS + 1, Replay::Safe)).await.unwrap(),
        CALLS + 1
    );
    assert!(book.connections() > before && book.times(CALLS + 1) >= 2);

    // Closing waits for what is under way, and the server sees the end of it all.
    let last: Vec<_> = (CALLS + 2..CALLS + 5)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { echo(&client, n, Replay::Safe).await })
        })
        .collect();
    bounded(book.seen(CALLS + 4)).await;
    let left = bounded(client.close(5 * SECOND)).await;
    assert!(left.unsent.is_empty() && left.unanswered == 0, "{left:?}");
    for (n, call) in (CALLS + 2..).zip(last) {
        assert_eq!(call.await.unwrap().unwrap(), n);
    }
    bounded(book.ended()).await;
    let (ups, downs) = bounded(watching).await.unwrap();
    assert!(ups.is_sorted() && ups.len() >= 4, "{ups:?}");
    assert_eq!(downs, ups, "each connection went down once, in order");
}

async fn echo(client: &Client, n: u64, replay: Replay) -> Result<u64, CallError> {
    let reply = client
        .send(Request::new("echo").params(&n).unwrap().replay(replay))
        .await?;
    reply.result::<Value>().map(|n| n.as_u64().unwrap())
}

/// The epochs that came up and went down, to the end of the session.
async fn watch(mut inbound: Inbound) -> (Vec<u64>, Vec<u64>) {
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    while let Some(item) = inbound.next().await {
        match item {
            Incoming::Up(up) => ups.push(up.epoch),
            Incoming::Down(down) => downs.push(down.epoch),
            other => panic!("{other:?}"),
        }
    }
    (ups, downs)
}
