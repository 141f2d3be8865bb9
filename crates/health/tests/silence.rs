//! When a peer is asked, and when it is left.

mod support;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::*;
use tokio::time::{Instant, sleep, timeout};
use tower_ws_core::{Closed, Event, FailureKind, Outgoing, Suspicion};
use tower_ws_health::HealthLayer;
use tower_ws_transport::{Kind, Message};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn layer() -> HealthLayer {
    HealthLayer::new()
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_left_in_time_however_much_is_sent() {
    let (connection, mut far) = connect(&layer()).await;
    let start = Instant::now();
    // The kernel takes everything, the peer says nothing.
    let sink = tokio::spawn(async move { while far.next().await.is_some() {} });
    let (mut writer, mut reader) = connection.split();
    let writer = tokio::spawn(async move {
        loop {
            if let Err(error) = writer.send(Message::text("data").into()).await {
                return error;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    let Some(Event::Down(down)) = reader.next().await else {
        panic!("expected Down")
    };
    assert_eq!(down.cause.kind(), FailureKind::Timeout);
    assert!(down.cause.to_string().contains("nothing came in"), "{}", down.cause);
    assert!(
        (secs(38)..=secs(41)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert!(reader.next().await.is_none());
    assert!(reader.next().await.is_none());
    assert_eq!(writer.await.unwrap(), Closed);
    sink.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_verdict_wakes_a_writer_who_waits() {
    let (connection, _far) = connect(&layer()).await;
    let (mut writer, mut reader) = connection.split();
    let writer = tokio::spawn(async move {
        loop {
            if let Err(error) = writer.send(Message::text("data").into()).await {
                return error;
            }
        }
    });
    assert!(matches!(reader.next().await, Some(Event::Down(_))));
    let error = timeout(secs(1), writer).await.expect("it is woken").unwrap();
    assert_eq!(error, Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_does_not_take_the_place_of_a_writer_who_waits() {
    let (connection, mut far) = connect(&layer()).await;
    let (mut writer, mut reader) = connection.split();
    let writer = tokio::spawn(async move {
        for n in 0..20 {
            writer.send(Message::text(n.to_string()).into()).await.unwrap();
        }
    });
    // The probe is written while the writer waits.
    let _ = timeout(secs(30), reader.next()).await;
    let reads = tokio::spawn(async move { while far.next().await.is_some() {} });
    timeout(secs(5), writer).await.expect("it is woken").unwrap();
    reads.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_lives_and_its_answers_stay_below() {
    let (health, handle) = HealthLayer::pair();
    let (mut connection, far) = connect(&health).await;
    let _far = answer(far, Duration::from_millis(50));
    assert!(timeout(secs(600), connection.next()).await.is_err());
    let stats = handle.snapshot();
    assert!((29..=34).contains(&stats.probes_answered), "{stats:?}");
    assert_eq!((stats.probes_lost, stats.messages_in), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_wakes_only_for_its_timer() {
    let (mut connection, far) = connect(&layer()).await;
    let _far = answer(far, Duration::ZERO);
    let mut polls = 0;
    let polling = poll_fn(|cx| {
        polls += 1;
        connection.poll_next_unpin(cx)
    });
    assert!(timeout(secs(600), polling).await.is_err());
    // A timer, a look halfway and an answer for each probe.
    assert!(polls <= 3 * 34 + 2, "{polls} polls");
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_not_probed_and_its_timer_rests() {
    let (health, handle) = HealthLayer::pair();
    let (mut connection, mut far) = connect(&health).await;
    let _talks = tokio::spawn(async move {
        while far.send(Message::text("news")).await.is_ok() {
            sleep(secs(1)).await;
        }
    });
    let mut polls = 0;
    let polling = poll_fn(|cx| {
        polls += 1;
        while let Poll::Ready(event) = connection.poll_next_unpin(cx) {
            assert!(matches!(event, Some(Event::Message(_))));
        }
        Poll::<()>::Pending
    });
    assert!(timeout(secs(600), polling).await.is_err());
    assert_eq!(handle.snapshot().probes_sent, 0);
    assert!(polls <= 600 + 34 + 2, "{polls} polls");
}

#[tokio::test(start_paused = true)]
async fn a_large_message_over_a_slow_link_is_life() {
    let gate = Gate::counting();
    let (connection, mut far) = connect_through(&layer(), gate.clone()).await;
    let reader = read(connection);
    // 16 MiB at 100 KB/s; and the peer cannot pong meanwhile.
    for _ in 0..168 {
        sleep(secs(1)).await;
        gate.bytes(100_000);
    }
    far.send(Message::text("there")).await.unwrap();
    let start = Instant::now();
    let events = reader.await.unwrap();
    assert!(matches!(&events[..], [Event::Message(_), Event::Down(_)]), "{events:?}");
    assert!(
        (secs(38)..=secs(41)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_did_not_read_does_not_judge() {
    let (mut connection, mut far) = connect(&layer()).await;
    // Nobody reads for minutes, so nobody asked either.
    sleep(secs(300)).await;
    let back = Instant::now();
    assert!(timeout(secs(19), connection.next()).await.is_err());
    assert!(ping(&mut far).now_or_never().is_some(), "asked on coming back");
    down(&mut connection).await;
    assert!((secs(20)..secs(22)).contains(&back.elapsed()), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_comes_back_finds_the_answer_of_a_living_peer() {
    let (mut connection, far) = connect(&layer()).await;
    let _far = answer(far, Duration::from_millis(50));
    for _ in 0..5 {
        // Asked, then away when the time is up.
        assert!(timeout(secs(20), connection.next()).await.is_err());
        sleep(secs(300)).await;
    }
    assert!(timeout(secs(100), connection.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn silence_behind_a_shut_gate_is_no_evidence() {
    let gate = Gate::counting();
    let (connection, far) = connect_through(&layer(), gate.clone()).await;
    let mut reader = read(connection);
    // It has been looked into before.
    sleep(secs(30)).await;
    gate.shut(true);
    assert!(timeout(secs(200), &mut reader).await.is_err());
    gate.shut(false);
    let open = Instant::now();
    assert!(matches!(reader.await.unwrap()[..], [Event::Down(_)]));
    assert!(open.elapsed() <= secs(21), "{:?}", open.elapsed());
    drop(far);
}

#[tokio::test(start_paused = true)]
async fn an_unsolicited_pong_is_life_but_no_answer() {
    let (health, handle) = HealthLayer::pair();
    let (mut connection, mut far) = connect(&health).await;
    let events = tokio::spawn(async move {
        let mut payloads = Vec::new();
        while let Ok(Some(Event::Message(message))) = timeout(secs(100), connection.next()).await {
            payloads.push(message.into_bytes());
        }
        payloads
    });
    let asked = ping(&mut far).await;
    let strangers = [&b"hello"[..], b"", &[7; 8]].map(bytes::Bytes::from_static);
    for payload in strangers.clone() {
        far.send(Message::pong(payload)).await.unwrap();
    }
    sleep(secs(1)).await;
    assert_eq!(handle.snapshot().probes_answered, 0);
    far.send(Message::pong(asked.clone())).await.unwrap();
    sleep(secs(1)).await;
    assert_eq!(handle.snapshot().probes_answered, 1);
    // Once more, it answers nothing.
    far.send(Message::pong(asked.clone())).await.unwrap();
    sleep(secs(1)).await;
    assert_eq!(handle.snapshot().probes_answered, 1);
    drop(far);
    let seen = events.await.unwrap();
    assert_eq!(seen[..3], strangers);
    assert_eq!(seen[3..], [asked]);
}

#[tokio::test(start_paused = true)]
async fn other_bytes_than_the_answer_are_life() {
    let (health, handle) = HealthLayer::pair();
    let (connection, mut far) = connect(&health).await;
    let reader = read(connection);
    for _ in 0..20 {
        ping(&mut far).await;
        sleep(secs(15)).await;
        far.send(Message::text("busy")).await.unwrap();
    }
    assert!(!reader.is_finished());
    sleep(secs(20)).await;
    let stats = handle.snapshot();
    assert!(stats.probes_lost >= 19, "{stats:?}");
    assert_eq!(stats.quality.as_str(), "poor");
}

#[tokio::test(start_paused = true)]
async fn jitter_only_shortens() {
    let mut times = Vec::new();
    for seed in 0..30 {
        let (connection, mut far) = connect(&layer().seed(seed)).await;
        let start = Instant::now();
        let reader = read(connection);
        ping(&mut far).await;
        times.push(start.elapsed());
        reader.abort();
    }
    // A timer rounds up to the next millisecond.
    let bounds = secs(18)..=secs(20) + Duration::from_millis(2);
    assert!(times.iter().all(|time| bounds.contains(time)), "{times:?}");
    times.dedup();
    assert!(times.len() > 20, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_the_peer_is_asked_at_once() {
    let (start, skipped) = (Instant::now(), Arc::<AtomicU64>::default());
    let slept = skipped.clone();
    let clock = move || SystemTime::UNIX_EPOCH + start.elapsed() + secs(slept.load(Ordering::Relaxed));
    let (connection, mut far) = connect(&layer().clock(clock)).await;
    let reader = read(connection);
    sleep(secs(5)).await;
    skipped.store(3600, Ordering::Relaxed);
    let back = Instant::now();
    // Whatever makes the connection look.
    far.send(Message::text("from before")).await.unwrap();
    ping(&mut far).await;
    assert!(back.elapsed() < secs(1), "{:?}", back.elapsed());
    let events = reader.await.unwrap();
    assert!(matches!(&events[..], [Event::Message(_), Event::Down(_)]), "{events:?}");
    assert!((secs(20)..secs(22)).contains(&back.elapsed()), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_or_stepping_a_little_changes_nothing() {
    let (start, shift) = (Instant::now(), Arc::<AtomicU64>::new(AtomicU64::new(7200)));
    let shifted = shift.clone();
    let clock = move || SystemTime::UNIX_EPOCH + start.elapsed() + secs(shifted.load(Ordering::Relaxed));
    let (health, handle) = HealthLayer::pair();
    let (connection, mut far) = connect(&health.clock(clock)).await;
    let _reader = read(connection);
    for step in [3600, 3604, 0] {
        shift.store(step, Ordering::Relaxed);
        far.send(Message::text("look")).await.unwrap();
        sleep(secs(1)).await;
    }
    assert_eq!(handle.snapshot().probes_sent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_finds_no_room_is_no_event_and_no_excuse() {
    let (health, handle) = HealthLayer::pair();
    let (mut connection, _far) = connect(&health).await;
    let start = Instant::now();
    while connection.feed(Message::text("data").into()).now_or_never().is_some() {}
    for _ in 0..16 {
        let item = Outgoing::new(Message::ping(bytes::Bytes::new())).control();
        connection.start_send_unpin(item).unwrap();
    }
    down(&mut connection).await;
    assert!(
        (secs(38)..=secs(41)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(handle.snapshot().probes_lost, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_being_closed_is_not_judged() {
    let (health, handle) = HealthLayer::pair();
    let (mut connection, far) = connect(&health).await;
    connection.close().await.unwrap();
    drop(far);
    let down = down(&mut connection).await;
    assert_eq!(down.cause.kind(), FailureKind::Local);
    assert_eq!(handle.snapshot().probes_sent, 0);
    assert!(connection.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_the_network_brings_with_the_timer_is_read_before_the_verdict() {
    let gate = Arc::<Gate>::default();
    *gate.blind.lock().unwrap() = Some(Instant::now() + secs(40));
    let (health, handle) = HealthLayer::pair();
    let (mut connection, mut far) = connect_through(&health.jitter(0.0), gate).await;
    far.send(Message::text("in the last moment")).await.unwrap();
    let event = connection.next().await;
    assert!(matches!(event, Some(Event::Message(_))), "{event:?}");
    assert_eq!(handle.snapshot().probes_sent, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_while_closing_stays_below() {
    let (mut connection, mut far) = connect(&layer()).await;
    let asked = {
        let (asked, event) = futures_util::future::join(ping(&mut far), timeout(secs(21), connection.next())).await;
        assert!(event.is_err());
        asked
    };
    connection.close().await.unwrap();
    far.send(Message::pong(asked)).await.unwrap();
    drop(far);
    down(&mut connection).await;
}

#[tokio::test(start_paused = true)]
async fn the_timer_wakes_whoever_reads_now() {
    let (mut connection, _far) = connect(&layer()).await;
    let start = Instant::now();
    // Read on one task, then on another.
    assert!(timeout(Duration::from_millis(10), connection.next()).await.is_err());
    let events = read(connection).await.unwrap();
    assert!(matches!(events[..], [Event::Down(_)]), "{events:?}");
    assert!(start.elapsed() <= secs(41), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_used_up_its_turn_is_woken_by_the_timer() {
    let (mut connection, mut far) = connect(&layer()).await;
    let reader = tokio::spawn(async move {
        // Without a pause: each of these reads takes from the task's budget.
        let mut down = false;
        while !down {
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            down = matches!(connection.next().await, Some(Event::Down(_)));
        }
    });
    for _ in 0..300 {
        far.send(Message::text("news")).await.unwrap();
    }
    timeout(secs(45), reader).await.expect("the dead peer is left").unwrap();
}

/// What the system takes from us is no sign that somebody is there.
#[tokio::test(start_paused = true)]
async fn bytes_out_are_no_sign_of_life() {
    let gate = Gate::counting();
    let (mut connection, _far) = connect_through(&layer().jitter(0.0), gate.clone()).await;
    let moving = tokio::spawn(async move {
        loop {
            gate.written(1000);
            sleep(secs(1)).await;
        }
    });
    let start = Instant::now();
    let event = timeout(secs(600), connection.next()).await.expect("it is left");
    assert!(matches!(event, Some(Event::Down(_))));
    assert_eq!(start.elapsed(), HealthLayer::INTERVAL + HealthLayer::TIMEOUT);
    moving.abort();
}

/// While one waits for the socket, another would tell no more: not when the machine was suspended either.
#[tokio::test(start_paused = true)]
async fn a_probe_that_waits_for_the_socket_is_joined_by_no_other() {
    let (health, handle) = HealthLayer::pair();
    let wall = Arc::new(AtomicU64::new(0));
    let clock = wall.clone();
    let health = health.clock(move || SystemTime::UNIX_EPOCH + secs(clock.load(Ordering::Relaxed)));
    let (mut connection, _far) = connect(&health).await;
    while connection.feed(Message::text("data").into()).now_or_never().is_some() {}
    let _reader = read(connection);
    sleep(secs(21)).await;
    assert_eq!(handle.snapshot().probes_sent, 1);
    // The clock on the wall runs ahead: a probe is due at once, and at each look again.
    for hour in 1..4 {
        wall.store(hour * 3600, Ordering::Relaxed);
        sleep(secs(5)).await;
    }
    assert_eq!(handle.snapshot().probes_sent, 1);
}

/// A large upload over a slow link: the probe stands behind it, and the peer cannot answer what it has not got.
#[tokio::test(start_paused = true)]
async fn a_probe_that_waits_behind_what_moves_is_not_counted_against_the_peer() {
    let gate = Gate::counting();
    let (mut connection, _far) = connect_through(&layer().jitter(0.0), gate.clone()).await;
    // The socket takes no more for now; the probe has to wait.
    while connection.feed(Message::text("data").into()).now_or_never().is_some() {}
    let start = Instant::now();
    let moving = tokio::spawn(async move {
        for _ in 0..200 {
            gate.written(1000);
            sleep(secs(1)).await;
        }
    });
    let event = timeout(secs(600), connection.next()).await.expect("it is left");
    assert!(matches!(event, Some(Event::Down(_))));
    let after = start.elapsed() - secs(200);
    assert!(
        after <= HealthLayer::TIMEOUT + secs(6),
        "left {after:?} after nothing moved any more"
    );
    assert!(moving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_that_knows_no_probes_and_speaks_seldom_is_found_out() {
    let (health, _handle) = HealthLayer::pair();
    let mut silences = Vec::new();
    for _ in 0..6 {
        let (connection, mut far) = connect(&health).await;
        let start = Instant::now();
        let read = read(connection);
        // It takes pings for noise, and has news every 150 s.
        let _talks = tokio::spawn(async move {
            loop {
                sleep(secs(150)).await;
                if far.send(Message::text("news")).await.is_err() {
                    return;
                }
            }
        });
        match timeout(secs(600), read).await {
            Ok(_) => silences.push(start.elapsed().as_secs()),
            Err(_) => break,
        }
    }
    assert_eq!(silences.len(), 3, "then it is let live: {silences:?}");
    for (silence, expected) in silences.iter().zip([40, 60, 100]) {
        assert!((expected - 3..=expected + 1).contains(silence), "{silences:?}");
    }
}

/// It was never asked, since it talked all the time; whenever it was, the way to it was cut.
#[tokio::test(start_paused = true)]
async fn one_that_was_never_asked_while_it_lived_is_left_in_time_each_time() {
    let (health, _handle) = HealthLayer::pair();
    for _ in 0..4 {
        let (connection, mut far) = connect(&health).await;
        let read = read(connection);
        let mut cut_off = None;
        for _ in 0..20 {
            far.send(Message::text("news")).await.unwrap();
            while let Some(Some(Ok(message))) = far.next().now_or_never() {
                if message.kind() == Kind::Ping {
                    far.send(Message::pong(message.into_bytes())).await.unwrap();
                }
            }
            cut_off = Some(Instant::now());
            sleep(secs(1)).await;
        }
        timeout(secs(600), read).await.expect("it is left").unwrap();
        let silent = cut_off.unwrap().elapsed();
        assert!(
            silent <= HealthLayer::INTERVAL + HealthLayer::TIMEOUT + secs(1),
            "{silent:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_probe_of_a_suspected_peer_has_to_be_answered() {
    for answers in [true, false] {
        let (mut connection, mut far) = dial(&layer(), Arc::default()).await;
        let up = up(&mut connection).await;
        let raised = Instant::now();
        let suspicion = up.extensions.get::<Suspicion>().unwrap();
        suspicion.raise(raised - secs(50));
        let peer = tokio::spawn(async move {
            loop {
                // It talks.
                match timeout(secs(1), far.next()).await {
                    Ok(Some(Ok(ping))) if answers => far.send(Message::pong(ping.into_bytes())).await.unwrap(),
                    Ok(Some(Ok(_))) => {}
                    Ok(_) => return,
                    Err(_) => {
                        let _ = far.send(Message::text("news")).await;
                    }
                }
            }
        });
        let down = timeout(secs(100), async {
            loop {
                if let Some(Event::Down(down)) = connection.next().await {
                    return down;
                }
            }
        });
        match down.await {
            Err(_) => assert!(answers),
            Ok(down) => {
                assert!(!answers && down.cause.to_string().contains("deaf"), "{down:?}");
                assert_eq!(raised.elapsed().as_secs(), 20);
                assert_eq!(down.silent.as_secs(), 70);
            }
        }
        peer.abort();
    }
}

/// The time in which this process stood still is not the peer's; but that counts once.
#[tokio::test(start_paused = true)]
async fn a_pause_of_this_side_is_forgiven_a_suspected_peer_once() {
    for pauses in [1, 2] {
        let (mut connection, far) = dial(&layer(), Arc::default()).await;
        let up = up(&mut connection).await;
        let suspicion = up.extensions.get::<Suspicion>().unwrap();
        suspicion.raise(Instant::now() - secs(50));
        // It talks, and answers nothing.
        let (mut says, mut hears) = far.split();
        let talks = tokio::spawn(async move {
            while says.send(Message::text("news")).await.is_ok() {
                sleep(secs(1)).await;
            }
        });
        let reads = tokio::spawn(async move { while hears.next().await.is_some() {} });
        for _ in 0..pauses {
            let looks = async {
                loop {
                    let event = connection.next().await;
                    assert!(matches!(event, Some(Event::Message(_))), "{event:?}");
                }
            };
            assert!(timeout(secs(5), looks).await.is_err());
            // Nobody looks.
            sleep(secs(100)).await;
        }
        let resumed = Instant::now();
        let down = async {
            loop {
                if let Some(Event::Down(down)) = connection.next().await {
                    return down;
                }
            }
        };
        let down = timeout(secs(100), down).await.expect("it is left");
        assert!(down.cause.to_string().contains("deaf"), "{down:?}");
        let expected = if pauses == 1 { 19..=21 } else { 0..=1 };
        assert!(
            expected.contains(&resumed.elapsed().as_secs()),
            "{:?}",
            resumed.elapsed()
        );
        talks.abort();
        reads.abort();
    }
}

/// It cannot answer what it has not got: its time runs from when the probe has left, or nothing moves.
#[tokio::test(start_paused = true)]
async fn the_probe_of_a_suspected_peer_may_wait_behind_what_moves() {
    let gate = Gate::counting();
    let (mut connection, far) = dial(&layer(), gate.clone()).await;
    let up = up(&mut connection).await;
    while connection.feed(Message::text("data").into()).now_or_never().is_some() {}
    let start = Instant::now();
    up.extensions.get::<Suspicion>().unwrap().raise(start - secs(50));
    let moving = tokio::spawn(async move {
        for _ in 0..100 {
            gate.written(1000);
            sleep(secs(1)).await;
        }
    });
    // It talks, and reads nothing.
    let (mut says, _unread) = far.split();
    let talks = tokio::spawn(async move {
        while says.send(Message::text("news")).await.is_ok() {
            sleep(secs(1)).await;
        }
    });
    let down = async {
        loop {
            if let Some(Event::Down(down)) = connection.next().await {
                return down;
            }
        }
    };
    let down = timeout(secs(300), down).await.expect("it is left");
    assert!(down.cause.to_string().contains("deaf"), "{down:?}");
    assert!(
        (118..=126).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    assert!(moving.is_finished());
    talks.abort();
}
