//! Calls: every one of them ends, and says truthfully how.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::json;
use support::{Puppet, Text, settle};
use tokio::task::JoinHandle;
use tower::{Service, ServiceExt};
use tower_ws_client::*;
use tower_ws_core::{BoxError, DropReason, Event, Failure, FailureKind, Lane, Replay, TicketSteps, jsonrpc::Malformed};

type Answer = JoinHandle<Result<Reply, CallError>>;

fn layer() -> ClientLayer<Text> {
    ClientLayer::new(Text)
}

fn start(client: &Client, request: Request) -> Answer {
    let client = client.clone();
    tokio::spawn(async move { client.send(request).await })
}

async fn outcome(call: Answer) -> Result<Reply, CallError> {
    tokio::time::timeout(Duration::from_secs(600), call)
        .await
        .expect("the call settles")
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_calls_in_any_order() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let calls: Vec<_> = (0..300_u64)
        .map(|n| (n, start(&client, Request::new("double").params(&[n]).unwrap())))
        .collect();
    let mut sent = puppet.sent().await;
    assert_eq!(sent.len(), 300);
    let ids: Vec<_> = sent.iter().map(|call| call["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted(), "ids rise on the wire");
    sent.reverse();
    for call in sent {
        puppet.answer(
            call["id"].as_u64().unwrap(),
            &json!(call["params"][0].as_u64().unwrap() * 2),
        );
    }
    for (n, call) in calls {
        assert_eq!(outcome(call).await.unwrap().result::<u64>().unwrap(), n * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_goes_out_with_one_flush() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let calls: Vec<_> = (0..256).map(|_| start(&client, Request::new("m"))).collect();
    assert_eq!(puppet.sent().await.len(), 256);
    assert!(
        puppet.pull(|s| s.flushes) <= 2,
        "{} flushes",
        puppet.pull(|s| s.flushes)
    );
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_has_to_wait_is_not_forgotten() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.flushable = false);
    let call = start(&client, Request::new("m"));
    assert_eq!(puppet.sent().await.len(), 1);
    assert_eq!(puppet.pull(|s| s.flushes), 0);
    puppet.pull(|s| s.flushable = true);
    settle().await;
    assert_eq!(puppet.pull(|s| s.flushes), 1);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn a_peers_error_is_the_calls_error() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let call = start(&client, Request::new("m"));
    settle().await;
    puppet.say(&json!({ "id": 1, "error": { "message": "no\nway", "code": -7 }, "jsonrpc": "2.0" }));
    let error = outcome(call).await.unwrap_err();
    assert_eq!(error.to_string(), "the peer answered with error -7: \"no\\nway\"");
    assert!(error.may_have_been_seen());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_type_is_an_error_without_the_answer_in_it() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let call = start(&client, Request::new("m"));
    settle().await;
    puppet.answer(1, &json!("hunter2"));
    let error = outcome(call).await.unwrap().result::<u8>().unwrap_err();
    assert!(matches!(error, CallError::Malformed(Malformed::Json(_))));
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_the_peer_disturbs_nobody() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let call = start(&client, Request::new("m"));
    settle().await;
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"jsonrpc":"2.0","id":99,"result":1}"#,
        r#"{"jsonrpc":"2.0"}"#,
    ] {
        puppet.event(Event::Message(text.to_owned()));
    }
    puppet.answer(1, &json!(5));
    puppet.answer(1, &json!(6));
    assert_eq!(outcome(call).await.unwrap().result::<u8>().unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_it_was_sent_is_never_sent() {
    let (puppet, client, _inbound) = Puppet::start(&layer().on_cancel(|_| Request::new("cancelled")));
    settle().await;
    puppet.pull(|s| s.ready = false);
    let dropped = start(&client, Request::new("dropped"));
    let kept = start(&client, Request::new("kept"));
    settle().await;
    dropped.abort();
    settle().await;
    puppet.pull(|s| s.ready = true);
    let sent = puppet.sent().await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0]["method"], "kept");
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_it_was_sent_is_cancelled_at_the_peer() {
    let cancel = |id| Request::new("cancelled").params(&[id]).unwrap();
    let (puppet, client, _inbound) = Puppet::start(&layer().on_cancel(cancel));
    let call = start(&client, Request::new("slow"));
    settle().await;
    call.abort();
    let sent = puppet.sent().await;
    assert_eq!(sent[1]["method"], "cancelled");
    assert_eq!(sent[1]["params"], json!([1]));
    assert_eq!(puppet.pull(|s| s.sent[1].0), Lane::Control);
    // The late answer is nobody's.
    puppet.answer(1, &json!("late"));
    let next = start(&client, Request::new("next"));
    settle().await;
    puppet.answer(2, &json!("mine"));
    assert_eq!(outcome(next).await.unwrap().result::<String>().unwrap(), "mine");
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_during_an_outage_leave_nothing_behind() {
    let (puppet, client, _inbound) = Puppet::start(&layer().timeout(Duration::from_secs(1)));
    settle().await;
    puppet.down(true);
    let mut ready = client.clone();
    for _ in 0..10_000 {
        let mut call = ready.ready().await.unwrap().call(Request::new("m"));
        assert!((&mut call).now_or_never().is_none());
    }
    puppet.up();
    assert!(puppet.sent().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outage_fails_what_was_sent_and_keeps_what_was_not() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let sent = start(&client, Request::new("sent"));
    settle().await;
    puppet.pull(|s| s.ready = false);
    let waiting = start(&client, Request::new("waiting"));
    settle().await;
    puppet.down(true);
    let error = outcome(sent).await.unwrap_err();
    assert!(matches!(&error, CallError::Interrupted(Some(cause)) if cause.to_string().contains("cable")));
    assert!(error.may_have_been_seen());
    let during = start(&client, Request::new("during"));
    settle().await;
    puppet.up();
    let methods: Vec<_> = puppet
        .sent()
        .await
        .into_iter()
        .map(|call| call["method"].clone())
        .collect();
    assert_eq!(methods, ["sent", "waiting", "during"]);
    puppet.answer(2, &json!(1));
    puppet.answer(3, &json!(1));
    assert!(outcome(waiting).await.is_ok() && outcome(during).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_layer_holds_survives_the_outage_and_one_that_it_drops_does_not() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.hold = true);
    let held = start(&client, Request::new("held"));
    let dropped = start(&client, Request::new("dropped"));
    settle().await;
    puppet.down(true);
    let victim = puppet.pull(|s| s.held.pop().unwrap());
    puppet.event(Event::Dropped(victim, DropReason::Overflow));
    let error = outcome(dropped).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(DropReason::Overflow)));
    assert!(!error.may_have_been_seen());
    // An answer to what was not sent is none.
    puppet.answer(1, &json!(0));
    settle().await;
    puppet.pull(|s| assert!(s.held[0].ticket.as_ref().unwrap().mark_sent()));
    puppet.answer(1, &json!(1));
    assert_eq!(outcome(held).await.unwrap().result::<u8>().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_layer_calls_interrupted_learns_the_cause() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.hold = true);
    let call = start(&client, Request::new("m"));
    settle().await;
    let held = puppet.pull(|s| s.held.pop().unwrap());
    assert!(held.ticket.as_ref().unwrap().mark_sent());
    let cable = Failure::new(FailureKind::Network, "the cable was pulled");
    puppet.event(Event::Dropped(held, DropReason::Interrupted(Some(cable))));
    let error = outcome(call).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Interrupted(Some(cause)) if cause.to_string().contains("cable")),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_held_is_handed_back_if_somebody_still_wants_it() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.hold = true);
    let wanted = start(&client, Request::new("wanted").replay(Replay::Safe));
    let given_up = start(&client, Request::new("given up"));
    let late = start(&client, Request::new("late").timeout(Duration::from_millis(5)));
    settle().await;
    given_up.abort();
    assert!(outcome(late).await.is_err());
    let left = client.close(Duration::ZERO).await;
    assert!(!outcome(wanted).await.unwrap_err().may_have_been_seen());
    let [unsent] = &left.unsent[..] else { panic!("{left:?}") };
    assert_eq!(unsent.method(), "wanted");
    // What it was declared to be, it still is.
    assert!(format!("{unsent:?}").contains("Safe"));
}

#[tokio::test(start_paused = true)]
async fn time_is_up_says_whether_it_was_sent() {
    let (puppet, client, _inbound) = Puppet::start(&layer().on_cancel(|_| Request::new("cancelled")));
    let sent = start(&client, Request::new("sent"));
    let short = start(&client, Request::new("short").timeout(Duration::from_secs(1)));
    settle().await;
    puppet.pull(|s| s.ready = false);
    let waiting = start(&client, Request::new("waiting"));
    let before = tokio::time::Instant::now();
    assert!(matches!(
        outcome(short).await.unwrap_err(),
        CallError::TimedOut { sent: true, .. }
    ));
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(matches!(
        outcome(sent).await.unwrap_err(),
        CallError::TimedOut { sent: true, .. }
    ));
    assert!(matches!(
        outcome(waiting).await.unwrap_err(),
        CallError::TimedOut { sent: false, .. }
    ));
    puppet.pull(|s| s.ready = true);
    let methods: Vec<_> = puppet
        .sent()
        .await
        .into_iter()
        .map(|call| call["method"].clone())
        .collect();
    assert_eq!(methods, ["sent", "short", "cancelled", "cancelled"]);
}

/// It waits once more, and was on a connection before.
#[tokio::test(start_paused = true)]
async fn time_is_up_says_that_it_was_sent_of_what_waits_to_be_sent_again() {
    let (puppet, mut client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.hold = true);
    let mut call = client.ready().await.unwrap().call(Request::new("m"));
    settle().await;
    puppet.pull(|s| {
        let ticket = s.held[0].ticket.as_ref().unwrap();
        assert!(ticket.mark_sent() && ticket.mark_held());
        ticket.enter(2);
    });
    let error = call.time_is_up(Duration::from_secs(1));
    assert!(error.may_have_been_seen(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_are_bounded_and_a_clone_is_not_ready() {
    let (puppet, mut client, _inbound) = Puppet::start(&layer().max_calls(2));
    let first = client.ready().await.unwrap().call(Request::new("m"));
    let second = client.ready().await.unwrap().call(Request::new("m"));
    assert!(client.clone().ready().now_or_never().is_none());
    let mut waiting = client.clone();
    let waiting = tokio::spawn(async move { waiting.ready().await.is_ok() });
    settle().await;
    assert!(!waiting.is_finished());
    drop(first);
    let ready = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(ready.expect("room is given on").unwrap());
    client.ready().await.unwrap();
    let mut clone = client.clone();
    let panicked = tokio::spawn(async move { drop(clone.call(Request::new("m"))) }).await;
    assert!(panicked.unwrap_err().is_panic());
    drop((second, puppet));
}

#[tokio::test(start_paused = true)]
async fn what_the_check_refuses_is_not_sent() {
    let check = |request: &Request| match request.method() {
        "rm" => Err(BoxError::from("too dangerous")),
        _ => Ok(()),
    };
    let (puppet, client, _inbound) = Puppet::start(&layer().check(check));
    let error = client.send(Request::new("rm")).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)) && !error.may_have_been_seen());
    assert!(matches!(
        client.notify(Request::new("rm")).await,
        Err(CallError::Refused(_))
    ));
    client.notify(Request::new("ls")).await.unwrap();
    assert_eq!(puppet.sent().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_settles_everything() {
    let (puppet, client, _inbound) = Puppet::start(&layer().max_calls(2));
    let sent = start(&client, Request::new("sent"));
    settle().await;
    puppet.pull(|s| s.ready = false);
    let waiting = start(&client, Request::new("waiting"));
    let no_room = start(&client, Request::new("no room"));
    settle().await;
    puppet.down(false);
    assert!(matches!(
        outcome(sent).await.unwrap_err(),
        CallError::Interrupted(Some(_))
    ));
    assert!(matches!(
        outcome(waiting).await.unwrap_err(),
        CallError::Closed(Some(_))
    ));
    assert!(matches!(outcome(no_room).await.unwrap_err(), CallError::Closed(_)));
    let error = client.send(Request::new("late")).await.unwrap_err();
    assert!(matches!(error, CallError::Closed(Some(cause)) if cause.to_string().contains("cable")));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_settles_everything() {
    let puppet = Puppet::default();
    puppet.up();
    let (client, _inbound, driver) = layer().pair(puppet.clone());
    let driver = tokio::spawn(driver);
    let sent = start(&client, Request::new("sent"));
    settle().await;
    driver.abort();
    assert!(matches!(
        outcome(sent).await.unwrap_err(),
        CallError::Interrupted(Some(_))
    ));
    assert!(matches!(
        client.send(Request::new("m")).await,
        Err(CallError::Closed(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn stock_tower_layers_fit_on_a_client() {
    use tower::ServiceBuilder;
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let mut service = ServiceBuilder::new()
        .concurrency_limit(8)
        .map_request(move |method: &'static str| {
            counter.fetch_add(1, Ordering::Relaxed);
            Request::new(method)
        })
        .service(client);
    let call = tokio::spawn(service.ready().await.unwrap().call("m"));
    settle().await;
    puppet.answer(1, &json!(null));
    assert!(call.await.unwrap().is_ok());
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// Random outages, answers, drops: every call settles, nothing is written twice, ids rise in each
/// epoch.
#[tokio::test(start_paused = true)]
async fn every_call_settles_whatever_happens() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (puppet, client, inbound) = Puppet::start(&layer().max_calls(16).timeout(Duration::from_secs(30)));
        let mut calls = Vec::new();
        let mut answered = 0;
        for _ in 0..200 {
            match random.u8(..10) {
                0..4 => calls.push(start(&client, Request::new("m"))),
                4..7 => {
                    let sent = puppet.sent().await;
                    if let Some(call) = sent.get(answered) {
                        puppet.answer(call["id"].as_u64().unwrap(), &json!(call["id"]));
                        answered += 1;
                    }
                }
                7 => puppet.down(true),
                8 => puppet.up(),
                _ => {
                    if !calls.is_empty() {
                        calls.swap_remove(random.usize(..calls.len())).abort();
                    }
                }
            }
        }
        puppet.up();
        for call in calls {
            // Answered, interrupted, timed out or aborted: but settled.
            tokio::time::timeout(Duration::from_secs(3600), call)
                .await
                .unwrap_or_else(|_| panic!("seed {seed}"))
                .ok();
        }
        let mut ids: Vec<_> = puppet
            .sent()
            .await
            .iter()
            .map(|call| call["id"].as_u64().unwrap())
            .collect();
        assert!(ids.is_sorted(), "seed {seed}");
        ids.dedup();
        assert_eq!(
            ids.len(),
            puppet.sent().await.len(),
            "seed {seed}: something was written twice"
        );
        drop(inbound);
    }
}
