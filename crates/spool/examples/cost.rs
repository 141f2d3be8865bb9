//! What a spool costs beside a queue in memory, in one run, by how many messages go with one flush.
//!
//! ```console
//! $ cargo run --release -p tower-ws-spool --example cost [FOLDER]
//! ```
//!
//! The same stack each time: queue, acknowledgements, a transport in memory, and a peer that acknowledges each message of
//! 100 bytes. Memory and file take turns, seven times; shown is the median of what a message takes, from the first to
//! the last acknowledgement. The file is in FOLDER, by default the system's for temporary files: what it costs to flush
//! that disk is most of the cost.

use std::{path::PathBuf, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_ws_ack::{AckLayer, Bare};
use tower_ws_core::{BoxConnection, BoxError, Event, boxed};
use tower_ws_queue::QueueLayer;
use tower_ws_spool::{SpoolOptions, Survives};
use tower_ws_transport::memory;

const TURNS: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    println!("flush of  in memory  process crash    power loss");
    for (batch, messages) in [(1, 300), (8, 2_400), (64, 9_600), (512, 38_400)] {
        let mut took = [const { Vec::new() }; 3];
        for turn in 0..TURNS {
            for (kind, took) in took.iter_mut().enumerate() {
                let file = folder.path().join(format!("{batch}-{turn}-{kind}.db"));
                let survives = [None, Some(Survives::Crash), Some(Survives::PowerLoss)][kind];
                took.push(run(survives.map(|survives| (survives, file)), batch, messages).await?);
            }
        }
        let [memory, crash, power] = took.map(|mut took| {
            took.sort_unstable();
            took[TURNS / 2].as_secs_f64() * 1e6 / f64::from(messages)
        });
        let (crash_ratio, power_ratio) = (crash / memory, power / memory);
        println!("{batch:8} {memory:7.2} µs {crash:7.1} µs {crash_ratio:3.0}x {power:7.1} µs {power_ratio:3.0}x");
    }
    Ok(())
}

async fn run(file: Option<(Survives, PathBuf)>, batch: u32, messages: u32) -> Result<Duration, BoxError> {
    let strategy = Bare::new(
        |sent: &String| sent.split(' ').next()?.parse::<u32>().ok(),
        |came: &String| came.parse().ok(),
    )
    .all_safe();
    let (transport, mut listener) = memory::channel::<String>(1024);
    tokio::spawn(async move {
        let mut peer = listener.accept().await?;
        while let Some(Ok(said)) = peer.next().await {
            let number = said.split(' ').next().unwrap_or_default();
            peer.send(number.to_owned()).await.ok()?;
        }
        Some(())
    });
    let below = AckLayer::new(strategy.clone()).layer(transport);
    let session: BoxConnection<String> = match file {
        None => boxed(QueueLayer::new().layer(below).oneshot(()).await?),
        Some((survives, file)) => {
            let spool = SpoolOptions::new().survives(survives).open(file, strategy)?;
            boxed(QueueLayer::new().store(spool).layer(below).oneshot(()).await?)
        }
    };
    let (mut sink, mut stream) = session.split();
    let text = "x".repeat(92);
    let start = Instant::now();
    let writes = async {
        for n in 0..messages {
            sink.feed(format!("{n:07} {text}").into()).await?;
            if (n + 1) % batch == 0 {
                sink.flush().await?;
            }
        }
        Ok::<_, BoxError>(())
    };
    let reads = async {
        let mut delivered = 0;
        while delivered < messages {
            match stream.next().await {
                Some(Event::Delivered(_)) => delivered += 1,
                Some(Event::Up(_)) => {}
                other => return Err(BoxError::from(format!("{other:?} came"))),
            }
        }
        Ok(())
    };
    tokio::try_join!(writes, reads)?;
    Ok(start.elapsed())
}
