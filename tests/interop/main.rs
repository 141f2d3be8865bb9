//! Real MCP servers: the official SDKs of Python and TypeScript, as processes of their own.
//!
//! `tests/peers/install` installs them; what is not installed is skipped, and said to be.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod peer;
mod quirks;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use peer::{Kind, Peer};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, util::MapRequestLayer};
use tower_ws::{
    Incoming, Request,
    client::Inbound,
    core::Replay,
    health,
    mcp::{self, Answers, Capabilities, Elicited, Filter, Implementation, Listened, Mcp, McpError, McpLayer, Notice},
    queue::QueueLayer,
    reconnect::{Backoff, ReconnectLayer},
    transport::{
        JsonText,
        lines::LinesLayer,
        process::{Pipes, Process},
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than a call waits, whose error says more.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(90 * SECOND, future).await.expect("it hangs")
}

fn me() -> Implementation {
    Implementation::new("interop", "1")
}

async fn connect(url: &str) -> (Mcp, Inbound) {
    within(mcp::connect(url, me())).await.expect("it is connected")
}

/// Redials after a second: a test has no time for more.
fn eager() -> ReconnectLayer {
    ReconnectLayer::new().policy(Backoff::default().cap(SECOND))
}

async fn connect_eagerly(url: &str) -> (Mcp, Inbound) {
    let builder = mcp::builder(url, me()).stack(|stack| stack.reconnect(eager()));
    within(builder.connect()).await.expect("it is connected")
}

async fn up(inbound: &mut Inbound) -> u64 {
    loop {
        match within(inbound.next()).await.expect("the session lives") {
            Incoming::Up(up) => return up.epoch,
            _ => continue,
        }
    }
}

/// The same for each of the servers that is installed.
async fn each<F: Future<Output = ()>>(test: impl Fn(Kind, Peer) -> F) {
    for kind in Kind::ALL {
        if let Some(peer) = Peer::start(kind) {
            test(kind, peer).await;
        }
    }
}

#[tokio::test]
async fn they_list_are_called_and_give_what_is_large() {
    each(async |kind, peer| {
        let (mcp, _inbound) = connect(&peer.url()).await;
        let server = mcp.server().unwrap();
        assert_eq!(server.era(), kind.era());
        assert!(server.capabilities().has("tools"));
        let tools = within(mcp.tools().all()).await.unwrap();
        for name in ["echo", "large", "book", "slow", "ask"] {
            assert!(tools.iter().any(|tool| tool.name == name), "{kind:?} has no {name}");
        }
        let echo = within(mcp.call_tool("echo", &json!({ "text": "h\u{e9}\n\"" })))
            .await
            .unwrap();
        assert_eq!((echo.text().as_str(), echo.is_error), ("h\u{e9}\n\"", false));
        let large = within(mcp.call_tool("large", &json!({ "size": 4 << 20 })))
            .await
            .unwrap();
        assert_eq!(large.text().len(), 4 << 20);
        let none = within(mcp.call_tool("none", &json!({}))).await;
        assert!(none.is_err() || none.is_ok_and(|result| result.is_error), "{kind:?}");
        let unknown = within(mcp.request::<_, Value>("no/such/method", &json!({}))).await;
        assert!(
            matches!(unknown, Err(McpError::Call(tower_ws::CallError::Rpc(_)))),
            "{kind:?}: {unknown:?}"
        );
        if server.capabilities().has("resources") {
            let read = within(mcp.read_resource("mem://greeting")).await.unwrap();
            assert_eq!(read.contents[0].text.as_deref(), Some("hello"));
        }
        let left = within(mcp.close(SECOND)).await;
        assert_eq!((left.unsent.len(), left.unanswered), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    each(async |_, peer| {
        let (mcp, _inbound) = connect(&peer.url()).await;
        let calls = (0..200).map(|n| {
            let mcp = &mcp;
            async move {
                let text = format!("{n} {}", "y".repeat(n % 7 * 100));
                let echo = mcp.call_tool("echo", &json!({ "text": text })).await.unwrap();
                assert_eq!(echo.text(), text);
            }
        });
        within(join_all(calls)).await;
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_the_connection_as_it_was() {
    each(async |kind, peer| {
        let (mcp, mut inbound) = connect(&peer.url()).await;
        up(&mut inbound).await;
        let thirty = json!({ "seconds": 30 });
        assert!(timeout(SECOND / 2, mcp.call_tool("slow", &thirty)).await.is_err());
        let limited = mcp
            .tool_request("slow", &json!({ "seconds": 30 }))
            .unwrap()
            .timeout(SECOND / 2);
        let error = within(mcp.send::<Value>(limited)).await.unwrap_err();
        assert!(error.may_have_been_seen(), "{kind:?}: {error}");
        let echo = within(mcp.call_tool("echo", &json!({ "text": "still here" })))
            .await
            .unwrap();
        assert_eq!(echo.text(), "still here");
        // On the same connection.
        assert!(timeout(SECOND, inbound.next()).await.is_err(), "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn progress_comes_in() {
    each(async |kind, peer| {
        let (mcp, _inbound) = connect(&peer.url()).await;
        let request = mcp.tool_request("slow", &json!({ "seconds": 1 })).unwrap();
        let tracked = within(mcp.track(request)).await.unwrap();
        let mut reports = tracked.reports();
        let watching = tokio::spawn(async move {
            let mut last = None;
            while let Some(report) = reports.next().await {
                last = Some((report.progress, report.total));
            }
            last
        });
        within(tracked).await.unwrap();
        assert_eq!(within(watching).await.unwrap(), Some((10.0, Some(10.0))), "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn the_server_asks_and_is_answered() {
    each(async |kind, peer| {
        let answers = Answers::new()
            .sampling(|_| async {
                let content = json!({ "type": "text", "text": "four" });
                Ok(json!({ "role": "assistant", "content": content, "model": "none" }))
            })
            .elicitation(|asked| async move {
                assert_eq!(asked.message, "2 + 2");
                Ok(Elicited::Accept {
                    content: Some(json!({ "word": "four" })),
                })
            });
        let connecting = mcp::builder(peer.url(), me()).answers(answers).connect();
        let (mcp, _inbound) = within(connecting).await.unwrap();
        let answer = within(mcp.call_tool("ask", &json!({ "question": "2 + 2" })))
            .await
            .unwrap();
        assert_eq!(answer.text(), "four", "{kind:?}");
    })
    .await;
}

/// Callers write into a ledger while the server is killed and started again, five times.
#[tokio::test]
async fn killed_in_the_middle_of_calls_nothing_is_done_twice_and_each_call_ends() {
    each(async |kind, mut peer| {
        let (mcp, mut inbound) = connect_eagerly(&peer.url()).await;
        up(&mut inbound).await;
        let entry = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..4).map(|_| {
            let (mcp, entry, stop) = (mcp.clone(), entry.clone(), stop.clone());
            tokio::spawn(async move {
                let mut ends = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let n = entry.fetch_add(1, Ordering::Relaxed);
                    let outcome = mcp.call_tool("book", &json!({ "entry": n })).await;
                    ends.insert(n, outcome.map(|_| ()).map_err(|error| error.may_have_been_seen()));
                }
                ends
            })
        });
        let callers: Vec<_> = callers.collect();
        for round in 2..5 {
            sleep(SECOND / 2).await;
            peer.kill();
            peer.restart();
            assert_eq!(up(&mut inbound).await, round, "{kind:?}");
        }
        sleep(SECOND / 2).await;
        stop.store(true, Ordering::Relaxed);
        let mut ends = BTreeMap::new();
        for caller in callers {
            ends.extend(within(caller).await.unwrap());
        }
        let ledger = peer.ledger();
        let times = |n: u64| ledger.iter().filter(|&&entry| entry == n).count();
        for (&n, end) in &ends {
            match end {
                Ok(()) => assert_eq!(times(n), 1, "{kind:?}: {n} was answered"),
                Err(true) => assert!(times(n) <= 1, "{kind:?}: {n} was done twice"),
                Err(false) => assert_eq!(times(n), 0, "{kind:?}: {n} was done, and said to be not sent"),
            }
        }
        let answered = ends.values().filter(|end| end.is_ok()).count();
        assert!(answered > 20, "{kind:?}: only {answered} were answered");
        assert_eq!(ends.len() as u64, entry.load(Ordering::Relaxed), "each has an end");
    })
    .await;
}

/// What only reads is answered, whatever happens in between.
#[tokio::test]
async fn what_is_safe_is_sent_again() {
    each(async |kind, mut peer| {
        let (mcp, mut inbound) = connect_eagerly(&peer.url()).await;
        up(&mut inbound).await;
        let request = mcp
            .tool_request("slow", &json!({ "seconds": 1 }))
            .unwrap()
            .replay(Replay::Safe);
        let slow = tokio::spawn({
            let mcp = mcp.clone();
            async move { mcp.send::<Value>(request).await }
        });
        sleep(SECOND / 2).await;
        peer.kill();
        let list = tokio::spawn(async move { mcp.tools().all().await });
        peer.restart();
        assert!(within(slow).await.unwrap().is_ok(), "{kind:?}");
        assert!(within(list).await.unwrap().unwrap().len() >= 5, "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn frozen_and_thawed_it_goes_on_and_frozen_for_long_it_is_left() {
    each(async |kind, peer| {
        let health = health::HealthLayer::new().interval(SECOND).timeout(SECOND);
        let builder = mcp::builder(peer.url(), me()).stack(|stack| stack.reconnect(eager()).health(health));
        let (mcp, mut inbound) = within(builder.connect()).await.unwrap();
        up(&mut inbound).await;
        peer.freeze();
        let echo = tokio::spawn({
            let mcp = mcp.clone();
            async move { mcp.call_tool("echo", &json!({ "text": "cold" })).await }
        });
        sleep(SECOND / 2).await;
        peer.thaw();
        assert_eq!(within(echo).await.unwrap().unwrap().text(), "cold", "{kind:?}");

        peer.freeze();
        let Incoming::Down(down) = within(inbound.next()).await.unwrap() else {
            panic!("{kind:?}: it is dead");
        };
        assert!(down.will_retry);
        peer.thaw();
        assert_eq!(up(&mut inbound).await, 2, "{kind:?}");
        assert_eq!(
            within(mcp.call_tool("echo", &json!({ "text": "warm" })))
                .await
                .unwrap()
                .text(),
            "warm"
        );
    })
    .await;
}

#[tokio::test]
async fn a_modern_server_is_listened_to_across_a_restart() {
    let Some(mut peer) = Peer::start(Kind::PythonDual) else {
        return;
    };
    let (mcp, mut inbound) = connect_eagerly(&peer.url()).await;
    up(&mut inbound).await;
    let mut listen = within(mcp.listen(&Filter::new().tools())).await.unwrap();
    assert!(matches!(within(listen.next()).await, Some(Listened::Active(filter)) if filter.tools_list_changed));
    for epoch in 2..4 {
        peer.kill();
        peer.restart();
        assert_eq!(up(&mut inbound).await, epoch);
        assert!(matches!(within(listen.next()).await, Some(Listened::Active(_))));
        within(mcp.call_tool("change", &json!({}))).await.unwrap();
        let Some(Listened::Notification(told)) = within(listen.next()).await else {
            panic!("it has changed");
        };
        assert!(matches!(Notice::of(&told), Ok(Notice::ToolsChanged)));
    }
    drop(listen);
    assert_eq!(
        within(mcp.call_tool("echo", &json!({ "text": "on" })))
            .await
            .unwrap()
            .text(),
        "on"
    );
}

#[tokio::test]
async fn each_connection_shows_the_token_of_its_time() {
    let Some(mut peer) = Peer::start_guarded(Kind::PythonDual, "first") else {
        return;
    };
    let token = Arc::new(Mutex::new("first"));
    let shown = token.clone();
    let show = MapRequestLayer::new(move |mut request: http::Request<()>| {
        let value = format!("Bearer {}", shown.lock().unwrap());
        request
            .headers_mut()
            .insert(http::header::AUTHORIZATION, value.parse().unwrap());
        request
    });
    let builder = mcp::builder(peer.url(), me()).stack(|stack| {
        stack
            .reconnect(eager().refusals_final_after(Duration::ZERO))
            .layer(show)
    });
    let (mcp, mut inbound) = within(builder.connect()).await.unwrap();
    up(&mut inbound).await;
    peer.kill();
    peer.set_token("second");
    *token.lock().unwrap() = "second";
    peer.restart();
    assert_eq!(up(&mut inbound).await, 2);
    assert_eq!(
        within(mcp.call_tool("echo", &json!({ "text": "in" })))
            .await
            .unwrap()
            .text(),
        "in"
    );

    // The old one is refused, twice, and that is the end.
    peer.kill();
    peer.set_token("third");
    peer.restart();
    loop {
        if let Incoming::Down(down) = within(inbound.next()).await.unwrap()
            && !down.will_retry
        {
            assert_eq!(down.cause.status(), Some(401));
            break;
        }
    }
}

/// The same client over lines: each server as a child process, which is started again when it has
/// died.
#[tokio::test]
async fn over_stdio_they_are_called_and_started_again() {
    for kind in Kind::ALL {
        let Some(command) = Peer::on_stdio(kind) else { continue };
        let children = Arc::new(Mutex::new(Vec::new()));
        let (layer, session) = McpLayer::pair(JsonText, me(), Capabilities::new());
        let started = children.clone();
        // What is started is noted, so that it can be killed.
        let note = tower::util::MapResponseLayer::new(move |pipes: Pipes| {
            started.lock().unwrap().push(pipes.id());
            pipes
        });
        let stack = ServiceBuilder::new()
            .layer(mcp::client_layer(JsonText))
            .layer(QueueLayer::new())
            .layer(mcp::ack_layer(JsonText))
            .layer(eager())
            // On a busy machine it starts more slowly than anybody waits who does not know what it is.
            .layer(layer.only(kind.era()).timeout(60 * SECOND))
            .layer(LinesLayer::new())
            .layer(note)
            .service(Process::new(command));
        let (client, mut inbound) = within(stack.oneshot(())).await.unwrap();
        let mcp = Mcp::new(client, session);
        up(&mut inbound).await;
        assert_eq!(mcp.server().unwrap().era(), kind.era());
        for epoch in 2..4 {
            let echo = within(mcp.call_tool("echo", &json!({ "text": "over stdio" })))
                .await
                .unwrap();
            assert_eq!(echo.text(), "over stdio", "{kind:?}");
            let id = children.lock().unwrap().last().copied().flatten().unwrap();
            let killed = std::process::Command::new("kill")
                .args(["-9", &id.to_string()])
                .status();
            assert!(killed.unwrap().success());
            let list = within(mcp.tools().all()).await.unwrap();
            assert!(list.len() >= 5, "{kind:?}");
            assert_eq!(up(&mut inbound).await, epoch, "{kind:?}");
        }
        within(mcp.close(SECOND)).await;
    }
}

/// A notification has no answer; what follows shows that it did no harm.
#[tokio::test]
async fn a_notification_is_taken() {
    each(async |_, peer| {
        let (mcp, _inbound) = connect(&peer.url()).await;
        mcp.notify(Request::new("notifications/roots/list_changed"))
            .await
            .unwrap();
        assert_eq!(
            within(mcp.call_tool("echo", &json!({ "text": "on" })))
                .await
                .unwrap()
                .text(),
            "on"
        );
    })
    .await;
}
