//! What goes out: how much, in what order, and what becomes of what has to wait.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{SECOND, arrivals, arrived, connect, densest, down, dropped, n, network, read_all};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_ws_core::{DropReason, Event, Outgoing, Ticket};
use tower_ws_rate_limit::{Excess, Quota, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;

fn one_a_second() -> RateLimitLayer {
    RateLimitLayer::new().messages(Quota::per_second(n(1)))
}

#[tokio::test(start_paused = true)]
async fn a_strict_server_never_sees_more_than_it_allows() {
    let layer = RateLimitLayer::new().messages(Quota::strict(n(5), SECOND).unwrap());
    let (connection, mut far) = connect(&layer).await;
    let (mut writer, reader) = connection.split();
    read_all(reader);
    // The writer is on another task than the reader: its timer has to wake it.
    tokio::spawn(async move {
        for n in 0..100_u64 {
            writer.send(n.to_string().into()).await.unwrap();
            if n % 17 == 0 {
                sleep(SECOND * 3).await;
            }
        }
    });
    let times = arrivals(&mut far, 100).await;
    assert_eq!(densest(&times, SECOND), 5);
    // Nor is it slower than it must be: 20 windows with their grace, and the pauses of the writer.
    let took = times[99] - times[0];
    assert!(took <= SECOND * (22 + 18), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_redial_refills_no_burst() {
    let (memory, mut listener) = network();
    let limit = RateLimitLayer::new().messages(Quota::strict(n(5), SECOND * 10).unwrap());
    let session = ReconnectLayer::new().layer(limit.layer(memory)).oneshot(());
    // Whenever it is up, five are sent at once.
    let client = tokio::spawn(async move {
        let mut session = session.await.unwrap();
        while let Some(event) = session.next().await {
            if let Event::Up(_) = event {
                for _ in 0..5 {
                    session.send("subscribe".to_owned().into()).await.unwrap();
                }
            }
        }
    });
    let mut times = Vec::new();
    for _ in 0..4 {
        let mut far = listener.accept().await.unwrap();
        times.extend(arrivals(&mut far, 5).await);
    }
    assert_eq!(densest(&times, SECOND * 10), 5);
    client.abort();
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_share_the_limit() {
    let layer = RateLimitLayer::new().messages(Quota::strict(n(3), SECOND).unwrap());
    let mut times = Vec::new();
    let mut fars = Vec::new();
    for _ in 0..10 {
        let (connection, far) = connect(&layer.clone()).await;
        let (mut writer, reader) = connection.split();
        read_all(reader);
        fars.push(far);
        tokio::spawn(async move {
            for _ in 0..3 {
                writer.send("hello".to_owned().into()).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
    }
    let all = fars.iter_mut().map(|far| arrivals(far, 3));
    times.extend(futures_util::future::join_all(all).await.concat());
    times.sort();
    assert_eq!((times.len(), densest(&times, SECOND)), (30, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_moves_what_is_in_hand() {
    let (mut connection, mut far) = connect(&one_a_second()).await;
    connection.send("first".to_owned().into()).await.unwrap();
    // Accepted, and its sender has gone before it could be flushed.
    assert!(
        timeout(SECOND / 10, connection.send("second".to_owned().into()))
            .await
            .is_err()
    );
    assert_eq!(arrived(&mut far), ["first"]);
    let start = Instant::now();
    assert!(
        timeout(SECOND * 2, connection.next()).await.is_err(),
        "nothing comes in"
    );
    assert!(arrivals(&mut far, 1).await[0] >= start);
    // What was given up has cost one turn and not more.
    let start = Instant::now();
    connection.send("third".to_owned().into()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_reader_on_another_task_hears_of_what_is_in_hand() {
    let (connection, mut far) = connect(&one_a_second()).await;
    let (mut writer, reader) = connection.split();
    read_all(reader);
    writer.send("first".to_owned().into()).await.unwrap();
    // The reader sleeps by now.
    sleep(SECOND / 10).await;
    // The half keeps one to itself: the second goes down as the third comes, and nobody flushes.
    writer.feed("second".to_owned().into()).await.unwrap();
    writer.feed("third".to_owned().into()).await.unwrap();
    sleep(SECOND * 2).await;
    assert_eq!(arrived(&mut far), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn the_sink_is_not_ready_while_one_is_in_hand_and_control_passes() {
    let (mut connection, mut far) = connect(&one_a_second()).await;
    connection.send("first".to_owned().into()).await.unwrap();
    connection.feed("second".to_owned().into()).await.unwrap();
    let ready = std::future::poll_fn(|cx| connection.poll_ready_unpin(cx));
    assert!(ready.now_or_never().is_none());
    for n in 0..10 {
        let ping = Outgoing::new(format!("ping {n}")).control();
        connection.start_send_unpin(ping).unwrap();
    }
    assert!(connection.flush().now_or_never().is_none());
    let early = arrived(&mut far);
    assert_eq!((early.len(), early[10].as_str()), (11, "ping 9"));
    // They did not count.
    let start = Instant::now();
    connection.flush().await.unwrap();
    assert!(start.elapsed() <= SECOND + SECOND / 100, "{:?}", start.elapsed());
    assert_eq!(arrived(&mut far), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_and_debts_are_paid() {
    let layer = RateLimitLayer::new().bytes(Quota::per_second(n(100)));
    let (mut connection, _far) = connect(&layer).await;
    let start = Instant::now();
    // Ten bursts at once, since the whole burst is there. Then ten seconds of nothing.
    connection.send("x".repeat(1_000).into()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    connection.send("x".repeat(100).into()).await.unwrap();
    let took = start.elapsed();
    assert!(took >= SECOND * 10 && took < SECOND * 11, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_strict_window_can_never_pass_comes_back() {
    let layer = RateLimitLayer::new().bytes(Quota::strict(n(100), SECOND).unwrap());
    let (mut connection, mut far) = connect(&layer).await;
    connection.send("x".repeat(101).into()).await.unwrap();
    let (_, reason) = dropped(connection.next().await);
    assert_eq!(reason, DropReason::TooLarge { size: 101, limit: 100 });
    connection.send("x".repeat(100).into()).await.unwrap();
    assert_eq!(arrived(&mut far).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refusing_gives_back_at_once() {
    let (layer, handle) = RateLimitLayer::pair();
    let layer = layer.messages(Quota::per_second(n(2))).excess(Excess::Refuse);
    let (mut connection, mut far) = connect(&layer).await;
    for n in 0..4 {
        connection.send(n.to_string().into()).await.unwrap();
    }
    assert_eq!(arrived(&mut far), ["0", "1"]);
    for n in ["2", "3"] {
        let (message, reason) = dropped(connection.next().await);
        assert_eq!(message, n);
        assert!(matches!(reason, DropReason::Refused(_)), "{reason}");
    }
    let stats = handle.snapshot().outbound.unwrap();
    assert_eq!((stats.refused, stats.waited), (2, 0));
    sleep(SECOND).await;
    connection.send("again".to_owned().into()).await.unwrap();
    assert_eq!(arrived(&mut far), ["again"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_has_a_bound() {
    let layer = RateLimitLayer::new()
        .messages(Quota::per_minute(n(1)))
        .excess(Excess::Refuse);
    let (mut connection, _far) = connect(&layer).await;
    let mut sent = 0;
    while let Some(ready) = connection.feed(sent.to_string().into()).now_or_never() {
        ready.unwrap();
        sent += 1;
    }
    assert_eq!(sent, 17);
    // A writer on another task goes on as soon as somebody reads.
    let (mut writer, mut reader) = connection.split();
    let writer = tokio::spawn(async move { writer.feed("more".to_owned().into()).await });
    tokio::task::yield_now().await;
    dropped(reader.next().await);
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_comes_back_when_it_is_worth_nothing() {
    let (layer, handle) = RateLimitLayer::pair();
    let (mut connection, mut far) = connect(&layer.messages(Quota::per_second(n(1)))).await;
    connection.send("first".to_owned().into()).await.unwrap();

    let late = Outgoing::new("late".to_owned()).deadline(Instant::now() + SECOND / 2);
    connection.feed(late).await.unwrap();
    let start = Instant::now();
    assert_eq!(
        dropped(connection.next().await),
        ("late".to_owned(), DropReason::Expired)
    );
    assert!(start.elapsed() < SECOND);

    let ticket = Ticket::new();
    let unwanted = Outgoing::new("unwanted".to_owned()).ticket(ticket.clone());
    connection.feed(unwanted).await.unwrap();
    ticket.cancel();
    let (message, reason) = dropped(connection.next().await);
    assert_eq!((message.as_str(), reason), ("unwanted", DropReason::Cancelled));

    // Neither has used the turn: the next has it.
    connection.send("second".to_owned().into()).await.unwrap();
    assert!(start.elapsed() <= SECOND * 2, "{:?}", start.elapsed());
    assert_eq!(arrived(&mut far), ["first", "second"]);
    assert_eq!(handle.snapshot().outbound.unwrap().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_comes_back_before_the_end() {
    for closes in [false, true] {
        let (mut connection, far) = connect(&one_a_second()).await;
        connection.send("first".to_owned().into()).await.unwrap();
        connection.feed("second".to_owned().into()).await.unwrap();
        let expected = if closes {
            let start = Instant::now();
            connection.close().await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO, "the farewell waits for no limit");
            DropReason::Closed
        } else {
            DropReason::Disconnected
        };
        drop(far);
        assert_eq!(dropped(connection.next().await), ("second".to_owned(), expected));
        assert!(matches!(connection.next().await, Some(Event::Down(_))));
        assert!(connection.next().await.is_none());
        assert!(connection.send("third".to_owned().into()).await.is_err());
    }
}

/// It belongs below reconnect. Above it, what is in hand lives on too.
#[tokio::test(start_paused = true)]
async fn above_a_reconnect_what_is_in_hand_goes_with_the_next_connection() {
    let (memory, mut listener) = network();
    let dial = one_a_second().layer(ReconnectLayer::new().layer(memory)).oneshot(());
    let (session, far) = tokio::join!(dial, listener.accept());
    let mut session = Box::pin(session.unwrap());
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    session.send("first".to_owned().into()).await.unwrap();
    session.feed("second".to_owned().into()).await.unwrap();
    drop(far);
    assert!(matches!(session.next().await, Some(Event::Down(down)) if down.will_retry));
    let (event, far) = tokio::join!(session.next(), listener.accept());
    assert!(matches!(event, Some(Event::Up(_))));
    session.flush().await.unwrap();
    assert_eq!(arrived(&mut far.unwrap()), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn the_servers_word_in_band_pauses_all_who_share_the_limit() {
    let (layer, handle) = RateLimitLayer::pair();
    let layer = layer.throttle_signal(|message: &String| {
        let seconds = message.strip_prefix("slow down ")?.parse().ok()?;
        Some(SECOND * seconds)
    });
    let (mut told, mut far) = connect(&layer).await;
    let (mut other, mut other_far) = connect(&layer).await;
    far.send("slow down 60".to_owned()).await.unwrap();
    // It goes up all the same.
    assert!(matches!(told.next().await, Some(Event::Message(said)) if said == "slow down 60"));
    let start = Instant::now();
    assert_eq!(
        handle.snapshot().outbound.unwrap().paused_until,
        Some(start + SECOND * 60)
    );
    told.start_send_unpin(Outgoing::new("pong".to_owned()).control())
        .unwrap();
    for (connection, far) in [(&mut told, &mut far), (&mut other, &mut other_far)] {
        connection.send("hello".to_owned().into()).await.unwrap();
        assert!(start.elapsed() >= SECOND * 60);
        assert_eq!(arrived(far).last().unwrap(), "hello");
    }
    // Not for longer than five minutes, whatever it says.
    far.send("slow down 86400".to_owned()).await.unwrap();
    told.next().await;
    let start = Instant::now();
    told.send("hello".to_owned().into()).await.unwrap();
    assert!(start.elapsed() <= tower_ws_core::RetryAfter::CAP + SECOND);
    drop(far);
    down(&mut told).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_what_is_already_in_hand() {
    let layer = RateLimitLayer::new()
        .messages(Quota::per_second(n(1)))
        .throttle_signal(|_: &String| Some(SECOND * 30));
    let (mut connection, mut far) = connect(&layer).await;
    connection.send("first".to_owned().into()).await.unwrap();
    connection.feed("second".to_owned().into()).await.unwrap();
    far.send("slow down".to_owned()).await.unwrap();
    connection.next().await;
    let start = Instant::now();
    connection.flush().await.unwrap();
    assert!(start.elapsed() >= SECOND * 30, "{:?}", start.elapsed());
}
