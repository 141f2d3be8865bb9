//! The Rust clients, each in a process of its own: `tower-ws-scoreboard client NAME`.

mod alloy;
mod ezsockets;
mod jsonrpsee;
mod report;
mod tower_mcp;
mod tower_ws;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until};

use self::report::say;
use crate::work::{Event, Work};
use crate::{BoxError, Settings};

/// What a client is started with.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) url: String,
    pub(crate) settings: Settings,
    pub(crate) work: Work,
}

/// Runs until it is killed, or the client gives up.
pub(crate) async fn run(name: &str, orders: Orders) -> Result<(), BoxError> {
    let ran = match name {
        "tower-ws" => tower_ws::run(orders).await,
        "alloy" => alloy::run(orders).await,
        "ezsockets" => ezsockets::run(orders).await,
        "jsonrpsee" => jsonrpsee::run(orders).await,
        "tower-mcp" => tower_mcp::run(orders).await,
        _ => return Err(format!("there is no client {name}").into()),
    };
    if let Err(error) = ran {
        say(&Event::Over { why: error.to_string() });
    }
    Ok(())
}

/// What became of a call.
enum Outcome {
    Answered,
    Failed(String),
    /// The client does not know of answers: whoever reads its messages reports this one's.
    Written,
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Answered,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// A client, as far as the work needs it.
trait Client: Clone + Send + Sync + 'static {
    /// Calls `apply`, and waits for the outcome.
    fn call(&self, n: u64, pad: String, safe: bool) -> impl Future<Output = Outcome> + Send;

    /// Sends what wants no answer. Waits as long as the client has it wait.
    fn feed(&self, n: u64, pad: String) -> impl Future<Output = Result<(), String>> + Send;
}

/// Does the work with a client that is connected, and then nothing any more.
async fn work(client: impl Client, work: Work) {
    let pad = "x".repeat(work.pad);
    let mut every = interval(Duration::from_millis(work.every_ms.max(1)));
    for n in 1..=work.calls {
        if work.every_ms > 0 {
            every.tick().await;
        }
        say(&Event::Sent { n });
        let (client, pad) = (client.clone(), pad.clone());
        let call = async move {
            match client.call(n, pad, work.safe).await {
                Outcome::Answered => say(&Event::Answered { n }),
                Outcome::Failed(why) => say(&Event::Failed { n, why }),
                Outcome::Written => {}
            }
        };
        tokio::spawn(call);
        if work.every_ms == 0 {
            // Each has its turn, so that they leave in this order.
            tokio::task::yield_now().await;
        }
    }
    if work.feed {
        feed(client, &pad).await;
    }
    std::future::pending::<()>().await;
}

async fn feed(client: impl Client, pad: &str) {
    let mut next = Instant::now();
    for n in 1.. {
        sleep_until(next).await;
        next = Instant::now() + Duration::from_millis(1);
        if let Err(why) = client.feed(n, pad.to_owned()).await {
            return say(&Event::Failed { n, why });
        }
    }
}
