//! `Retry-After`, up to the wait that comes of it: never longer than the cap allows.
#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header::RETRY_AFTER};
use libfuzzer_sys::fuzz_target;
use tower_ws_connector::http1::retry_after;
use tower_ws_core::{Failure, FailureKind, RetryAfter};
use tower_ws_reconnect::{Backoff, Decision, History, Policy};

fuzz_target!(|input: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    let read = retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]));
    let text = String::from_utf8_lossy(input.trim_ascii());
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(read) = read else {
        assert!(
            !is_number || text.parse::<u64>().is_err(),
            "{text:?} is a number of seconds"
        );
        return;
    };
    let wait = match read {
        RetryAfter::Delay(delay) => {
            assert!(is_number, "{text:?} is no number");
            assert_eq!(Some(delay.as_secs()), text.parse().ok());
            delay
        }
        RetryAfter::Date(date) => {
            assert!(!is_number, "{text:?} is a number");
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            date.duration_since(now).unwrap_or_default()
        }
    };
    let failure = Failure::new(FailureKind::Handshake, "busy")
        .with_status(503)
        .with_retry_after(read);
    let mut history = History::default();
    history.attempts = 1;
    history.retry_after = Some(wait);
    history.sample = 0.99;
    let Decision::RetryAfter(delay) = Backoff::default().decide(&failure, &history) else {
        panic!("503 is no reason to give up")
    };
    assert!(delay >= wait.min(Backoff::RETRY_AFTER_CAP), "{delay:?} after {wait:?}");
    assert!(delay <= Backoff::RETRY_AFTER_CAP * 2, "{delay:?} after {wait:?}");
});
