//! What is logged. Alone in its process: other tests' subscribers would interfere.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use support::{SECOND, connect, down, n};
use tokio::time::timeout;
use tower_ws_rate_limit::{Inbound, Limiter, Quota, RateLimitLayer};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // A pause, and a thousand who are told of it too.
    let dials = Limiter::new(Quota::per_second(n(1)));
    for length in 1..=1_000 {
        dials.pause(SECOND * length);
    }
    // A burst that is over, then a flood.
    let inbound = Inbound::from(Quota::per_second(n(10))).patience(SECOND * 10);
    let (mut connection, mut far) = connect(&RateLimitLayer::new().inbound(inbound)).await;
    for _ in 0..50 {
        far.send("secret".to_owned()).await.unwrap();
    }
    while timeout(SECOND * 5, connection.next()).await.is_ok() {}
    tokio::spawn(async move { while far.send("secret".to_owned()).await.is_ok() {} });
    down(&mut connection).await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let of = |level: &str, text: &str| {
        let lines = log.lines().filter(|line| line.trim_start().starts_with(level));
        lines.filter(|line| line.contains(text)).collect::<Vec<_>>()
    };
    let [pausing] = of("WARN", "pausing")[..] else {
        panic!("{:?}", of("WARN", "pausing"))
    };
    assert!(pausing.contains("limit=\"dials\" pause_ms=1000"), "{pausing}");
    assert_eq!(of("DEBUG", "reading less").len(), 2);
    assert_eq!(of("DEBUG", "keeps to the limit").len(), 1);
    let [flood] = of("WARN", "floods us")[..] else {
        panic!("{:?}", of("WARN", ""))
    };
    assert!(flood.contains("connection=") && flood.contains("over_ms=1"), "{flood}");
    assert!(!log.contains("secret"));
}
