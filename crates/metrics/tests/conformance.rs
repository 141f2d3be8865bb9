//! The laws that every layer keeps, at both heights, with a recorder and without.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use metrics_util::debugging::DebuggingRecorder;
use support::Seen;
use tower_ws_metrics::MetricsLayer;
use tower_ws_test_kit::conformance::{self, Suite};

#[tokio::test(start_paused = true)]
async fn a_session_keeps_the_laws_and_leaves_nothing_open() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    conformance::layer(MetricsLayer::session()).await;
    let seen = Seen::by(&recorder);
    assert!(seen.total("tower_ws_session_ups_total") > 0.0);
    for gauge in ["tower_ws_session_open", "tower_ws_session_up"] {
        assert_eq!(seen.total(gauge), 0.0, "{gauge}");
    }
    let ups = seen.total("tower_ws_session_ups_total");
    assert_eq!(seen.records("tower_ws_session_uptime_seconds").len() as f64, ups);
    let ended = seen.sum("tower_ws_session_ends_total");
    assert!(ended >= ups, "{ended} sessions ended, {ups} came up");
}

#[tokio::test(start_paused = true)]
async fn a_connection_keeps_the_laws_and_leaves_nothing_open() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    conformance::layer(MetricsLayer::connection()).await;
    let seen = Seen::by(&recorder);
    let dialled = seen.total("tower_ws_connection_dials_total{outcome=ok,cause=none}");
    assert!(dialled > 0.0);
    assert_eq!(
        seen.records("tower_ws_connection_duration_seconds").len() as f64,
        dialled
    );
    for gauge in ["tower_ws_connection_open", "tower_ws_connection_dials_in_progress"] {
        assert_eq!(seen.total(gauge), 0.0, "{gauge}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_recorder_it_is_the_same() {
    Suite::layer(MetricsLayer::session()).seeds(0..4).run().await;
    Suite::layer(MetricsLayer::connection()).seeds(0..4).run().await;
}
