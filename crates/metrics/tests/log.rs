//! What is logged. Alone in its process: other tests' subscribers would interfere.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;
use tower::{Layer, Service, service_fn};
use tower_ws_core::{BoxError, Failure, FailureKind, Lift};
use tower_ws_metrics::MetricsLayer;
use tower_ws_transport::memory;
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_dial_is_logged_once_when_it_is_finished() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let dial = service_fn(|refused: bool| async move {
        sleep(Duration::from_secs(2)).await;
        if refused {
            return Err(BoxError::from(Failure::new(
                FailureKind::Auth,
                "the password is hunter2",
            )));
        }
        Ok(Lift::<_, String>::new(memory::pair::<String>(1).0))
    });
    let mut service = MetricsLayer::connection().layer(dial);
    drop(service.call(false).await.unwrap());
    service.call(true).await.unwrap_err();
    drop(service.call(false));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().map(str::trim_start).collect();
    assert_eq!(
        lines,
        [
            "DEBUG tower_ws_metrics::link: dialled outcome=\"ok\" cause=\"none\" elapsed_ms=2000",
            "DEBUG tower_ws_metrics::link: dialled outcome=\"failed\" cause=\"auth\" elapsed_ms=2000",
            "DEBUG tower_ws_metrics::link: dialled outcome=\"cancelled\" cause=\"none\" elapsed_ms=0",
        ]
    );
}
