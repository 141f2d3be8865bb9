//! The conformance suite allows for layers that redial and layers that hold messages, and still
//! catches them.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tower::layer::{layer_fn, util::Stack};
use tower_ws_test_kit::conformance::{Outcome, Suite};

use self::layers::{Fault, Queues, RedialLayer};

mod layers;

#[tokio::test(start_paused = true)]
async fn a_layer_that_redials() {
    let report = Suite::layer(RedialLayer(Fault::None)).redials().run().await;
    assert_eq!(
        report.of("not_ready_before_up_is_read"),
        Some(Outcome::Held),
        "{report}"
    );
    assert!(
        matches!(report.of("wrapping_is_transparent"), Some(Outcome::Adapted(_))),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_holds_messages() {
    let report = Suite::layer(layer_fn(|inner| Queues {
        inner,
        fault: Fault::None,
    }))
    .holds_messages()
    .run()
    .await;
    assert_eq!(
        report.of("control_is_passed_on_at_once"),
        Some(Outcome::Held),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn both() {
    let queue = layer_fn(|inner| Queues {
        inner,
        fault: Fault::None,
    });
    let report = Suite::layer(Stack::new(RedialLayer(Fault::None), queue))
        .redials()
        .holds_messages()
        .run()
        .await;
    assert_eq!(
        report.of("control_without_a_connection_comes_back"),
        Some(Outcome::Held),
        "{report}"
    );
}

/// The law catches the fault by name.
macro_rules! catches {
    ($($test:ident: $fault:ident => $law:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            let suite = Suite::layer(RedialLayer(Fault::$fault)).redials();
            fails(suite.$law(), stringify!($law)).await;
        }
    )*};
}

catches! {
    ready_before_up: ReadyBeforeUp => not_ready_before_up_is_read;
    a_sink_that_dials: DialsFromTheSink => the_sink_half_never_dials;
    control_lost_between_connections: LosesControl => control_without_a_connection_comes_back;
    epochs_that_do_not_count: KeepsTheEpoch => one_down_for_each_up;
    a_writer_forgotten_in_a_redial: ForgetsTheWriter => a_writer_on_another_task_is_woken;
    a_fresh_clone_dials_again: DialsWithAClone => a_readied_service_goes_with_the_call;
    a_message_for_another_epoch: IgnoresEpochs => what_is_bound_to_an_epoch_stays_there;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_forgets_what_it_holds() {
    let suite = Suite::layer(layer_fn(|inner| Queues {
        inner,
        fault: Fault::ForgetsTheQueue,
    }))
    .holds_messages();
    fails(suite.every_message_ends_once(), "every_message_ends_once").await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_flush_while_it_is_stuck() {
    let suite = Suite::layer(layer_fn(|inner| Queues {
        inner,
        fault: Fault::StuckFlush,
    }))
    .holds_messages();
    fails(suite.a_flush_reaches_below(), "a_flush_reaches_below").await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_writes_only_when_it_is_asked() {
    let suite = Suite::layer(layer_fn(|inner| Queues {
        inner,
        fault: Fault::WritesOnlyWhenAsked,
    }))
    .holds_messages();
    fails(suite.a_flood_puts_off_no_write(), "a_flood_puts_off_no_write").await;
}

async fn fails(law: impl Future<Output = Outcome>, name: &str) {
    let panic = AssertUnwindSafe(law)
        .catch_unwind()
        .await
        .expect_err("the law is broken");
    let said = panic.downcast_ref::<String>().expect("the suite says why");
    assert!(said.contains(&format!("`{name}` is broken")), "{said}");
}
