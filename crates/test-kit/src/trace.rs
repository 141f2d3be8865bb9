use tracing::level_filters::LevelFilter;
use tracing::subscriber::{DefaultGuard, set_default};

/// Shows the events and spans of this thread, down to `TRACE`, in the output of a test that fails.
///
/// Lasts until the guard is dropped: `let _trace = trace_init();`. Reaches what runs on this thread
/// only, which is everything in a `#[tokio::test]` of the default flavor.
#[must_use = "tracing ends when the guard is dropped"]
pub fn trace_init() -> DefaultGuard {
    let subscriber = tracing_subscriber::fmt()
        .with_test_writer()
        .with_max_level(LevelFilter::TRACE)
        .finish();
    set_default(subscriber)
}
