//! Faults on real sockets, one at a time, through the recommended stack with short deadlines.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use support::{SECOND, bounded, builder, millis, within};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::{self, protocol::CloseFrame};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Message, Request,
    client::{ClientLayer, Lag},
    core::{Down, FailureKind, Replay, Up},
    health::HealthLayer,
    transport::{JsonText, Limits, TransportLayer},
};
use tower_ws_test_kit::{Cut, Direction, Fault, Proxy, Script, Server};

async fn connect(url: impl AsRef<str>) -> (Client, Inbound) {
    bounded(builder(url).connect()).await.unwrap()
}

async fn next(inbound: &mut Inbound) -> Incoming {
    bounded(inbound.next()).await.expect("the session goes on")
}

async fn up(inbound: &mut Inbound) -> Up {
    loop {
        if let Incoming::Up(up) = next(inbound).await {
            return up;
        }
    }
}

async fn down(inbound: &mut Inbound) -> Down {
    loop {
        if let Incoming::Down(down) = next(inbound).await {
            return down;
        }
    }
}

async fn call(client: &Client, n: u64) -> Result<Value, CallError> {
    bounded(client.request("call", &json!({ "n": n }))).await
}

/// The numbers of the calls that reached the server, and how often.
fn seen(server: &Server) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for received in server.received() {
        let said: Value = serde_json::from_str(received.message.as_text().unwrap()).unwrap();
        if let Some(n) = said["params"]["n"].as_u64() {
            *seen.entry(n).or_default() += 1;
        }
    }
    seen
}

#[tokio::test]
async fn what_comes_with_the_answer_to_the_upgrade_is_not_lost() {
    let early = json!({ "jsonrpc": "2.0", "method": "early" }).to_string();
    let server = Server::start(Script::EarlyData(early)).await.unwrap();
    let (_client, mut inbound) = connect(server.url()).await;
    assert!(matches!(next(&mut inbound).await, Incoming::Up(_)));
    assert!(matches!(next(&mut inbound).await, Incoming::Notification(said) if said.method() == "early"));
}

#[tokio::test]
async fn what_is_too_large_ends_the_connection_and_not_the_session() {
    for script in [Script::OversizeFrame { claims: 1 << 40 }, Script::FragmentBomb] {
        let server = Server::start(script.clone()).await.unwrap();
        let limits = Limits::default().message_in(1 << 20).frame_in(1 << 20);
        let transport = TransportLayer::new().limits(limits);
        let (_client, mut inbound) = bounded(builder(server.url()).transport(transport).connect())
            .await
            .unwrap();
        for epoch in 1..=2 {
            let end = down(&mut inbound).await;
            assert_eq!(
                (end.cause.kind(), end.will_retry, end.epoch),
                (FailureKind::Policy, true, epoch),
                "{script:?}: {end:?}"
            );
            assert!(
                end.cause.is_too_large() && end.cause.to_string().contains("1048576"),
                "{:?}",
                end.cause
            );
        }
        assert!(server.dials() <= 3, "it comes back, later each time");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_costs_its_call_only() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let limits = Limits::default().message_in(64 << 10).frame_in(64 << 10);
    let transport = TransportLayer::new().limits(limits);
    let (client, _inbound) = bounded(builder(server.url()).transport(transport).connect())
        .await
        .unwrap();
    let large = Request::new("tools/list").params(&"x".repeat(100 << 10)).unwrap();
    let error = bounded(client.send(large.replay(Replay::Safe))).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Interrupted(Some(cause)) if cause.is_too_large()),
        "{error:?}"
    );
    // Nothing of it is sent again, and the session goes on.
    assert!(bounded(call(&client, 2)).await.is_ok());
    let large = server
        .received()
        .iter()
        .filter(|got| got.message.len() > 64 << 10)
        .count();
    assert_eq!((large, server.dials()), (1, 2));
}

#[tokio::test]
async fn many_fragments_cost_nothing() {
    let server = Server::start(Script::EmptyFragments(60_000)).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    up(&mut inbound).await;
    // What follows them gets through: the server echoes, so this comes back as a request of its
    // own.
    client.notify(Request::new("after")).await.unwrap();
    assert!(matches!(next(&mut inbound).await, Incoming::Notification(said) if said.method() == "after"));
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn calls_are_answered_in_a_flood_of_pings() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, _inbound) = connect(server.url()).await;
    for n in 0..20 {
        for _ in 0..1_000 {
            server.push(Message::ping("flood"));
        }
        assert_eq!(call(&client, n).await.unwrap()["n"], n);
    }
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn a_flood_of_pings_before_the_first_word() {
    let server = Server::start(Script::PingFlood(100_000)).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    up(&mut inbound).await;
    client.notify(Request::new("after")).await.unwrap();
    assert!(matches!(next(&mut inbound).await, Incoming::Notification(said) if said.method() == "after"));
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_left() {
    let server = Server::start(Script::StopReading).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    up(&mut inbound).await;
    server.play(Script::json_rpc());
    let large = Request::new("large").params(&"x".repeat(4 << 20)).unwrap();
    let calls = join_all((0..8).map(|_| client.send(large.clone())));
    let (ended, down) = tokio::join!(bounded(calls), down(&mut inbound));
    assert_eq!(
        (down.cause.kind(), down.will_retry),
        (FailureKind::Timeout, true),
        "{down:?}"
    );
    // The first were sent and lost; the others waited, and are answered by the next connection.
    let lost = ended
        .iter()
        .filter(|ended| matches!(ended, Err(CallError::Interrupted(Some(_)))))
        .count();
    let answered = ended.iter().filter(|ended| ended.is_ok()).count();
    assert!(lost > 0 && lost + answered == 8, "{ended:?}");
    assert_eq!(call(&client, 1).await.unwrap()["n"], 1);
}

#[tokio::test]
async fn a_server_that_freezes_and_thaws_costs_nothing_but_time() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, _inbound) = connect(server.url()).await;
    call(&client, 0).await.unwrap();
    server.freeze();
    let calls = join_all((1..200).map(|n| call(&client, n)));
    let thaw = async {
        // Longer than every deadline of this stack but those of the calls.
        sleep(millis(1_500)).await;
        server.thaw();
    };
    let (ended, ()) = tokio::join!(calls, thaw);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(server.dials(), 1);
    assert!((0..200).eq(seen(&server).into_keys()));
}

/// Half-open: nothing says that the peer is gone. What is safe goes again, what is not fails.
#[tokio::test]
async fn a_peer_that_vanishes_without_a_word_is_left() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let health = HealthLayer::new().interval(millis(200)).timeout(millis(300));
    let (client, mut inbound) = bounded(builder(proxy.url()).health(health).connect()).await.unwrap();
    call(&client, 0).await.unwrap();
    proxy.set(Fault::Blackhole);
    let request = |n: u64, replay| {
        let request = Request::new("call").params(&json!({ "n": n })).unwrap();
        client.send(request.replay(replay))
    };
    let relent = async {
        // The new connection finds a way.
        let down = down(&mut inbound).await;
        proxy.set(Fault::None);
        down
    };
    let (safe, risky, down) = tokio::join!(
        bounded(request(1, Replay::Safe)),
        bounded(request(2, Replay::Unsafe)),
        relent
    );
    assert_eq!(down.cause.kind(), FailureKind::Timeout);
    assert!(safe.is_ok(), "{safe:?}");
    let Err(CallError::Interrupted(Some(cause))) = risky else {
        panic!("{risky:?}")
    };
    assert_eq!(cause.kind(), FailureKind::Timeout);
    assert_eq!(seen(&server), BTreeMap::from([(0, 1), (1, 1)]));
}

/// Cuts the first connections after `byte` bytes, and lets the later ones be.
async fn cut_at(byte: u64, direction: Direction, how: Cut) -> usize {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    proxy.set(Fault::CutAt { byte, direction, how });
    let relent = async {
        proxy.wait_dials(2).await;
        proxy.set(Fault::None);
        std::future::pending::<()>().await;
    };
    let work = async {
        let (client, _inbound) = connect(proxy.url()).await;
        let calls = (0..12).map(|n| {
            let request = Request::new("call")
                .params(&json!({ "n": n }))
                .unwrap()
                .replay(Replay::Unsafe);
            let client = &client;
            async move {
                sleep(millis(2 * n)).await;
                client.send(request).await
            }
        });
        let ended = bounded(join_all(calls)).await;
        let left = within(5 * SECOND, client.close(SECOND)).await;
        assert_eq!((left.unsent.len(), left.unanswered), (0, 0));
        ended
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = relent => unreachable!("it waits for ever"),
    };
    let seen = seen(&server);
    assert!(
        seen.values().all(|&times| times == 1),
        "at {byte} {direction:?}: seen twice: {seen:?}"
    );
    for (n, ended) in (0..).zip(&ended) {
        match ended {
            Ok(reply) => {
                assert_eq!(reply.result::<Value>().unwrap()["n"], n);
                assert!(seen.contains_key(&n));
            }
            Err(error) => {
                assert!(
                    matches!(error, CallError::Interrupted(_) | CallError::NotSent(_)),
                    "{error:?}"
                );
                assert!(error.may_have_been_seen() || !seen.contains_key(&n), "{n}: {error:?}");
            }
        }
    }
    ended.iter().filter(|ended| ended.is_err()).count()
}

#[tokio::test]
async fn a_cut_at_any_byte_loses_nothing_in_silence() {
    let mut interrupted = 0;
    for direction in [Direction::ToServer, Direction::ToClient] {
        // The handshake is some 200 bytes long, a call 60.
        let bytes: Vec<u64> = (0..900).step_by(9).collect();
        for bytes in bytes.chunks(10) {
            let cuts = bytes.iter().map(|&byte| {
                let how = if byte % 2 == 0 { Cut::Fin } else { Cut::Rst };
                cut_at(byte, direction, how)
            });
            interrupted += join_all(cuts).await.into_iter().sum::<usize>();
        }
    }
    assert!(interrupted > 20, "{interrupted} calls were interrupted");
}

#[tokio::test]
async fn a_slow_link_is_no_dead_one() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (client, _inbound) = connect(proxy.url()).await;
    proxy.set(Fault::Throttle {
        bytes_per_second: 400 << 10,
    });
    // Several times the deadlines, in both directions, and more than the buffers on the way hold.
    let large = "x".repeat(1 << 20);
    let answer: String = bounded(client.request("large", &large)).await.unwrap();
    assert_eq!(answer.len(), large.len());
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn refused_for_a_while() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    up(&mut inbound).await;
    server.refuse();
    server.cut(Cut::Rst);
    down(&mut inbound).await;
    let (answer, ()) = tokio::join!(call(&client, 7), async {
        sleep(millis(500)).await;
        server.listen().unwrap();
    });
    assert_eq!(answer.unwrap()["n"], 7);
    assert_eq!(up(&mut inbound).await.epoch, 2);
    assert_eq!(seen(&server), [(7, 1)].into());
}

#[tokio::test]
async fn the_server_may_start_later() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    server.refuse();
    let (connected, ()) = tokio::join!(connect(server.url()), async {
        sleep(millis(500)).await;
        assert_eq!(server.dials(), 0);
        server.listen().unwrap();
    });
    assert_eq!(call(&connected.0, 7).await.unwrap()["n"], 7);
}

#[tokio::test]
async fn closing_is_bounded_also_when_nobody_answers() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    call(&client, 0).await.unwrap();
    server.freeze();
    let pending = tokio::spawn({
        let client = client.clone();
        async move { call(&client, 1).await }
    });
    sleep(millis(100)).await;
    let began = Instant::now();
    let left = bounded(client.close(millis(300))).await;
    // The grace, and half a second for the closing handshake.
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!((left.unsent.len(), left.unanswered), (0, 1));
    assert!(matches!(
        bounded(pending).await.unwrap(),
        Err(CallError::Interrupted(_))
    ));
    assert!(!down(&mut inbound).await.will_retry);
    assert!(bounded(inbound.next()).await.is_none());
}

#[tokio::test]
async fn closing_in_an_outage_is_no_failure() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    up(&mut inbound).await;
    server.refuse();
    server.cut(Cut::Rst);
    assert!(down(&mut inbound).await.will_retry);
    let waiting = client.send(Request::new("call"));
    let (ended, left) = tokio::join!(bounded(waiting), bounded(client.close(millis(100))));
    assert_eq!((left.unsent.len(), left.unanswered), (1, 0));
    let end = down(&mut inbound).await;
    assert_eq!(
        (end.epoch, end.will_retry, end.cause.kind()),
        (1, false, FailureKind::Local),
        "{end:?}"
    );
    assert!(bounded(inbound.next()).await.is_none());
    assert!(
        matches!(&ended, Err(CallError::Closed(Some(cause))) if cause.kind() == FailureKind::Local),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_application_that_lags_is_told_that_it_did() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let layer = ClientLayer::new(JsonText).inbound(2, Lag::Close);
    let (client, mut inbound) = bounded(builder(server.url()).client(layer).connect()).await.unwrap();
    for _ in 0..10 {
        server.push(Message::text(r#"{"jsonrpc":"2.0","method":"push"}"#));
    }
    let end = down(&mut inbound).await;
    assert_eq!(
        (end.will_retry, end.cause.kind()),
        (false, FailureKind::Policy),
        "{end:?}"
    );
    assert!(bounded(inbound.next()).await.is_none());
    let late = call(&client, 1).await;
    assert!(
        matches!(&late, Err(CallError::Closed(Some(cause))) if cause.kind() == FailureKind::Policy),
        "{late:?}"
    );
}

/// What a well-behaved server reads last.
async fn last_words(end: impl FnOnce(Client, Inbound) -> Option<Client>) -> Option<CloseFrame> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        loop {
            match socket.next().await {
                Some(Ok(tungstenite::Message::Close(close))) => return close,
                Some(Ok(_)) => {}
                other => panic!("it ended without a close frame: {other:?}"),
            }
        }
    });
    let (client, inbound) = connect(url).await;
    let _rest = end(client, inbound);
    bounded(server).await.unwrap()
}

#[tokio::test]
async fn whoever_drops_the_last_client_takes_leave() {
    let all = last_words(|client, inbound| {
        drop((client, inbound));
        None
    });
    assert_eq!(all.await.map(|close| u16::from(close.code)), Some(1000));
    let clones = last_words(|client, _inbound| {
        drop((client.clone(), client));
        None
    });
    assert_eq!(clones.await.map(|close| u16::from(close.code)), Some(1000));
    let asked = last_words(|client, _inbound| {
        let closing = client.clone();
        tokio::spawn(async move { closing.close(Duration::ZERO).await });
        Some(client)
    });
    assert_eq!(asked.await.map(|close| u16::from(close.code)), Some(1000));
}

/// Calls that may be made twice, all the time, while the server goes away and comes back.
async fn planned_restart(code: u16) {
    let server = Server::start(Script::JsonRpc { delay: millis(20) }).await.unwrap();
    let (client, mut inbound) = connect(server.url()).await;
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let client = client.clone();
        let call = Request::new("echo").params(&json!({ "n": n })).unwrap();
        calls.spawn(async move { client.send(call.replay(Replay::Safe).timeout(30 * SECOND)).await });
        match n {
            // Calls are under way, and others wait.
            100 => server.close(code, "restart"),
            _ => sleep(millis(2)).await,
        }
    }
    while let Some(answer) = calls.join_next().await {
        answer.unwrap().unwrap();
    }
    let lost = down(&mut inbound).await;
    assert_eq!(lost.cause.close().map(|close| close.code), Some(code));
    // Nothing new passed by the server unseen, and what it saw twice it was sent for a reason.
    let seen = seen(&server);
    assert_eq!(seen.len(), 200);
    assert!(seen.values().all(|&times| times <= 2), "{seen:?}");
}

#[tokio::test]
async fn a_planned_restart_loses_no_call() {
    // After 1012 the client keeps away for 1 to 15 s.
    bounded(futures_util::future::join(planned_restart(1001), planned_restart(1012))).await;
}

#[tokio::test]
async fn a_dial_that_is_given_up_leaves_nothing_behind() {
    let server = Server::start(Script::NeverReply).await.unwrap();
    tokio::select! {
        biased;
        connected = builder(server.url()).connect() => panic!("{connected:?}"),
        () = bounded(server.wait_requests(1)) => {}
    }
    bounded(server.wait_live(0)).await;

    // Between two dials.
    server.play(Script::status(503, &[]));
    let dials = server.dials();
    assert!(timeout(millis(300), builder(server.url()).connect()).await.is_err());
    // The last dial may have been given up before the server took it from the queue.
    sleep(millis(100)).await;
    let after = server.dials();
    assert!(after > dials);
    sleep(millis(300)).await;
    assert_eq!(server.dials(), after, "somebody goes on dialling");
    assert_eq!(
        support::tasks(),
        1 + server.live(),
        "only the server's own tasks are left"
    );
}
