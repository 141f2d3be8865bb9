//! What is logged. Alone in its process: other tests' subscribers would interfere.

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use support::{Act, Net, refused};
use tower_ws_core::Disposition;
use tower_ws_reconnect::ReconnectLayer;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_transition_is_logged_once_with_its_cause() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

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

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
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
        "cause=the connection was refused",
        "delay_ms=",
    ] {
        assert!(warning.contains(field), "{warning}");
    }
}
