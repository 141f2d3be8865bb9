//! The laws that every layer keeps: without a limit, with one that is not reached, and with one
//! that is.

use std::{num::NonZeroU32, time::Duration};

use tower::layer::util::Stack;
use tower_ws_rate_limit::{Excess, Inbound, Quota, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::conformance::{Outcome, Suite};

fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("is not zero")
}

fn generous() -> RateLimitLayer {
    let much = Quota::per_second(n(100_000_000));
    RateLimitLayer::new()
        .dials(much)
        .messages(much)
        .bytes(much)
        .inbound(Inbound::new().messages(much).bytes(much))
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    let report = Suite::layer(RateLimitLayer::new()).run().await;
    assert_eq!(report.of("wrapping_is_transparent"), Some(Outcome::Held), "{report}");
    assert_eq!(
        report.of("control_is_passed_on_at_once"),
        Some(Outcome::Held),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_with_limits_that_are_not_reached() {
    for layer in [generous(), generous().excess(Excess::Refuse)] {
        let report = Suite::layer(layer).run().await;
        assert_eq!(report.of("wrapping_is_transparent"), Some(Outcome::Held), "{report}");
        assert_eq!(report.of("a_flush_reaches_below"), Some(Outcome::Held), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_below_a_reconnect() {
    let layer = Stack::new(generous(), ReconnectLayer::new().seed(1));
    Suite::layer(layer).redials().run().await;
}

/// Some two in a millisecond: most messages of the suite wait a little, and no law depends on how
/// long.
#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws_at_the_limit() {
    let few = Quota::per_second(n(2_000)).burst(n(3));
    let strict = Quota::strict(n(4), Duration::from_millis(2)).expect("two milliseconds are some time");
    for quota in [few, strict] {
        let layer = || RateLimitLayer::new().messages(quota).inbound(quota);
        // All seeds of a law together take longer than a layer without a limit does.
        let suite = || {
            Suite::layer(layer())
                .holds_messages()
                .patience(Duration::from_secs(600))
        };
        suite().one_down_for_each_up().await;
        suite().nothing_after_none().await;
        suite().dropping_aborts().await;
        suite().close_loses_nothing_unread().await;
        suite().close_reaches_the_peer().await;
        suite().closing_again_is_harmless().await;
        suite().order_is_kept().await;
        suite().cancelling_a_send_is_safe().await;
        suite().every_message_ends_once().await;
        suite().a_cancelled_ticket_is_never_written().await;
        suite().tickets_move_forward().await;
        suite().a_flush_reaches_below().await;
        Suite::layer(layer().excess(Excess::Refuse))
            .every_message_ends_once()
            .await;
    }
}
