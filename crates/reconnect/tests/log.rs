//! What is logged. Alone in its process: other tests' subscribers would interfere.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use support::{Act, Net, refused};
use tower_ws_core::Disposition;
use tower_ws_reconnect::ReconnectLayer;

const SECOND: Duration = Duration::from_secs(1);

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One task that reads and sends: while it waits for its send, nobody redials.
#[tokio::test(start_paused = true)]
async fn a_send_that_waits_for_a_reader_is_told_of() {
    let (log, _guard) = Log::begin();
    let net = Net::new(move |_| Act::Drop(SECOND, None));
    let mut session = net.session(ReconnectLayer::new().seed(1)).await.unwrap();
    assert!(session.next().await.is_some());
    assert!(session.next().await.is_some(), "it is down");
    for warnings in 1..3 {
        // Somebody else would go on for ever.
        let sending = tokio::time::timeout(600 * SECOND, session.feed("hello".to_owned().into())).await;
        assert!(sending.is_err());
        let text = log.text();
        assert_eq!(text.matches("nobody reads this session").count(), warnings, "{text}");
        while !matches!(session.next().await, Some(tower_ws_core::Event::Down(_))) {}
    }
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_logged_once_with_its_cause() {
    let (log, _guard) = Log::begin();
    let fatal = refused().with_disposition(Disposition::Final);
    let net = Net::new(move |n| match n {
        1 => Act::Refuse(refused()),
        2 => Act::Drop(SECOND, None),
        _ => Act::Refuse(fatal.clone()),
    });
    let layer = ReconnectLayer::new().seed(1).refusals_final_after(Duration::ZERO);
    let mut session = net.session(layer).await.unwrap();
    while session.next().await.is_some() {}
    drop(session);

    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("tower_ws_reconnect")).collect();
    let starts = |level| lines.iter().filter(|line| line.trim_start().starts_with(level)).count();
    assert_eq!(
        (starts("DEBUG"), starts("INFO"), starts("WARN"), starts("ERROR")),
        (4, 2, 2, 1),
        "{log}"
    );
    let warning = lines.iter().find(|line| line.contains("WARN")).unwrap();
    for field in [
        "epoch=0",
        "attempt=2",
        "kind=\"network\"",
        "rule=\"backoff\"",
        "cause=the connection was refused",
        "delay_ms=",
    ] {
        assert!(warning.contains(field), "{warning}");
    }
}
