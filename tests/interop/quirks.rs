//! What each server does in its own way: written down so that a change of theirs is noticed.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Value, json};
use tower_ws::{
    CallError, Inbound, Incoming, Request,
    core::{Disposition, FailureKind},
    mcp::{self, Era, Mcp, McpError},
    transport::{Handshake, Subprotocols, TransportLayer},
};

use super::{Kind, Peer, SECOND, connect, connect_eagerly, each, me, up, within};

/// What the server answers to an offer of subprotocols: one of them, none, or a status.
async fn chosen(peer: &Peer, offered: &[&str]) -> Result<Option<String>, Option<u16>> {
    let transport = TransportLayer::new()
        .subprotocols(offered.iter().copied())
        .subprotocol_mode(Subprotocols::Lenient);
    let builder = mcp::builder(peer.url(), me()).stack(|stack| stack.transport(transport));
    let connecting = builder.connect();
    let (_mcp, mut inbound) = within(connecting).await.map_err(|error| error.failure().status())?;
    let Some(Incoming::Up(up)) = within(inbound.next()).await else {
        panic!("up comes first");
    };
    let answered = up
        .extensions
        .get::<Handshake>()
        .unwrap()
        .headers()
        .get(SEC_WEBSOCKET_PROTOCOL);
    Ok(answered.map(|value| value.to_str().unwrap().to_owned()))
}

#[tokio::test]
async fn subprotocols() {
    each(async |kind, peer| {
        let answers = [
            chosen(&peer, &["mcp"]).await,
            chosen(&peer, &[]).await,
            chosen(&peer, &["other"]).await,
        ];
        let yes = |name: &str| Ok(Some(name.to_owned()));
        let expected = match kind {
            // It answers `mcp` to everybody.
            Kind::PythonLegacy => [yes("mcp"), yes("mcp"), yes("mcp")],
            // It insists on what it was told to.
            Kind::PythonDual => [yes("mcp"), Err(Some(400)), Err(Some(400))],
            // It takes the first, whatever it is.
            Kind::TypescriptDual => [yes("mcp"), Ok(None), yes("other")],
        };
        assert_eq!(answers, expected, "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn a_dual_server_is_legacy_to_those_who_begin_so() {
    for kind in [Kind::PythonDual, Kind::TypescriptDual] {
        let Some(peer) = Peer::start(kind) else { continue };
        let connecting = mcp::builder(peer.url(), me()).only(Era::Legacy).connect();
        let (mcp, _inbound) = within(connecting).await.unwrap();
        assert_eq!(mcp.server().unwrap().era(), Era::Legacy, "{kind:?}");
        assert_eq!(
            within(mcp.call_tool("echo", &json!({ "text": "old" })))
                .await
                .unwrap()
                .text(),
            "old"
        );
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_server_costs_the_call_and_not_the_session() {
    // 1 MiB in websockets, 16 MiB in uvicorn, 100 MiB in ws. The legacy one says everything twice,
    // so half of our own 16 MiB is all that it can be asked to echo.
    for (kind, size) in [(Kind::PythonDual, 2 << 20), (Kind::PythonLegacy, 7 << 20)] {
        let Some(peer) = Peer::start(kind) else { continue };
        let (mcp, mut inbound) = connect_eagerly(&peer.url()).await;
        up(&mut inbound).await;
        let text = "x".repeat(size);
        let outcome = within(mcp.call_tool("echo", &json!({ "text": text }))).await;
        if kind == Kind::PythonLegacy {
            assert_eq!(outcome.unwrap().text().len(), size, "{kind:?} takes it");
            continue;
        }
        assert!(outcome.unwrap_err().may_have_been_seen());
        let Some(Incoming::Down(down)) = within(inbound.next()).await else {
            panic!("it has ended");
        };
        assert_eq!(down.cause.close().map(|close| close.code), Some(1009), "{kind:?}");
        assert_eq!(
            (down.cause.kind(), down.cause.disposition()),
            (FailureKind::Closed, Disposition::Backoff)
        );
        assert!(down.will_retry);
        up(&mut inbound).await;
        let again = within(mcp.call_tool("echo", &json!({ "text": "small" }))).await;
        assert_eq!(again.unwrap().text(), "small", "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_us_is_refused_here() {
    each(async |kind, peer| {
        let (mcp, _inbound) = connect(&peer.url()).await;
        let error = within(mcp.call_tool("echo", &json!({ "text": "x".repeat(17 << 20) })))
            .await
            .unwrap_err();
        assert!(!error.may_have_been_seen(), "{kind:?}: {error}");
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

/// The legacy one answers with an error under the request's id, the others not at all. Neither is
/// taken for an answer of anybody else's.
#[tokio::test]
async fn answers_to_what_was_cancelled_find_nobody() {
    each(async |kind, peer| {
        let mut session = connect(&peer.url()).await;
        for n in 0..5 {
            // Between two of the ten steps that the tool makes in a second.
            let one = json!({ "seconds": 1 });
            let slow = session.0.call_tool("slow", &one);
            assert!(tokio::time::timeout(SECOND * 3 / 20, slow).await.is_err(), "{kind:?}");
            let text = n.to_string();
            let echo = session.0.tool_request("echo", &json!({ "text": text })).unwrap();
            let echoed = ask(kind, &peer, &mut session, echo).await;
            assert_eq!(echoed["content"][0]["text"], text, "{kind:?}");
        }
        tokio::time::sleep(2 * SECOND).await;
        ask(kind, &peer, &mut session, Request::new("tools/list")).await;
    })
    .await;
}

/// A cancellation may end the legacy server's reading for good: it still sends pongs, and breaks
/// off at the message after next
/// (<https://github.com/modelcontextprotocol/python-sdk/issues/2610>). Whoever calls learns that
/// the outcome is unknown; another connection is served.
async fn ask(kind: Kind, peer: &Peer, session: &mut (Mcp, Inbound), request: Request) -> Value {
    let request = request.timeout(20 * SECOND);
    match within(session.0.send(request.clone())).await {
        Err(McpError::Call(CallError::TimedOut { sent: true, .. } | CallError::Interrupted(_)))
            if kind == Kind::PythonLegacy =>
        {
            *session = connect(&peer.url()).await;
            within(session.0.send(request)).await.unwrap()
        }
        answered => answered.unwrap_or_else(|error| panic!("{kind:?}: {error}")),
    }
}

/// It pings, and leaves whoever does not answer. We answer without being asked to.
#[tokio::test]
async fn its_pings_are_answered() {
    let Some(mut peer) = Peer::start(Kind::PythonDual) else {
        return;
    };
    peer.ping_every(SECOND / 2);
    let (mcp, mut inbound) = connect_eagerly(&peer.url()).await;
    up(&mut inbound).await;
    assert!(
        tokio::time::timeout(3 * SECOND, inbound.next()).await.is_err(),
        "the connection stays"
    );
    assert_eq!(
        within(mcp.call_tool("echo", &json!({ "text": "on" })))
            .await
            .unwrap()
            .text(),
        "on"
    );
}

/// A connection's first request fixes its era: another way to begin is refused with the versions
/// that there are.
#[tokio::test]
async fn initialize_is_refused_on_a_modern_connection() {
    let Some(peer) = Peer::start(Kind::PythonDual) else {
        return;
    };
    let (mcp, _inbound) = connect(&peer.url()).await;
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    let Err(McpError::Call(CallError::Rpc(error))) = within(mcp.request::<_, Value>("initialize", &params)).await
    else {
        panic!("it is refused");
    };
    assert_eq!(error.code, -32022);
    assert_eq!(
        within(mcp.call_tool("echo", &json!({ "text": "on" })))
            .await
            .unwrap()
            .text(),
        "on"
    );
}
