//! Two endpoints of one service, and a policy of one's own for what follows a failure.
//!
//! It starts two servers. The first has no room; the session goes to the second, which is then cut off until the
//! policy gives up.
//!
//! ```text
//! cargo run --example failover
//! ```

use std::time::Duration;

use tower_ws::{
    Incoming,
    core::{BoxError, Failure},
    reconnect::{Backoff, Decision, FailoverLayer, History, Policy},
};
use tower_ws_test_kit::{Cut, Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let full = Server::start(Script::status(503, &[])).await?;
    let good = Server::start(Script::json_rpc()).await?;

    let backoff = Backoff::default();
    let policy = move |cause: &Failure, history: &History| match history.attempts {
        // Whatever the cause: after three attempts somebody should look at it.
        3.. => Decision::GiveUp,
        _ => backoff.decide(cause, history),
    };
    let session = tower_ws::builder(full.url())
        .fallback(good.url())
        // Who has failed is passed over for so long.
        .failover(FailoverLayer::new().cool_down(Duration::from_secs(60)))
        .policy(policy);
    let (client, mut inbound) = session.connect().await?;
    println!("{}", client.request::<_, String>("echo", "hello").await?);
    println!("dials of the first: {}, of the second: {}", full.dials(), good.dials());

    good.refuse();
    good.cut(Cut::Rst);
    while let Some(item) = inbound.next().await {
        if let Incoming::Down(down) = item {
            println!("down: {}; dials again: {}", down.cause, down.will_retry);
        }
    }
    println!("the session is over");
    Ok(())
}
