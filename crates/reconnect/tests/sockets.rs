//! Over real sockets, against a server that misbehaves.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use http::Request;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_ws_connector::tcp_connector;
use tower_ws_core::{BoxError, Connection, Event};
use tower_ws_reconnect::{ReconnectError, ReconnectLayer};
use tower_ws_test_kit::{Cut, Script, Server};
use tower_ws_transport::{Message, TransportLayer};

const PATIENCE: Duration = Duration::from_secs(20);

async fn session(
    layer: ReconnectLayer,
    server: &Server,
) -> Result<impl Connection<Message = Message> + Unpin + use<>, ReconnectError> {
    let mut service = layer.layer(TransportLayer::new().layer(tcp_connector()));
    let target = Request::get(server.url()).body(()).expect("the address is a valid one");
    service.ready().await?.call(target).await
}

async fn next<C: Connection + Unpin>(session: &mut C) -> Event<C::Message> {
    timeout(PATIENCE, session.next())
        .await
        .expect("nothing happens")
        .expect("the session ended")
}

#[tokio::test]
async fn it_survives_cuts_and_restarts() -> Result<(), BoxError> {
    let server = Server::start(Script::Echo).await?;
    let mut session = session(ReconnectLayer::new(), &server).await?;
    for epoch in 1..=4 {
        assert!(matches!(next(&mut session).await, Event::Up(up) if up.epoch == epoch));
        let text = format!("in epoch {epoch}");
        session.send(Message::text(text.clone()).into()).await?;
        assert!(matches!(next(&mut session).await, Event::Message(echo) if echo.as_text() == Some(&text)));
        match epoch {
            1 => server.cut(Cut::Rst),
            2 => server.close(1001, "going away"),
            3 => {
                server.refuse();
                server.cut(Cut::Fin);
            }
            _ => break,
        }
        assert!(matches!(next(&mut session).await, Event::Down(down) if down.will_retry));
        if epoch == 3 {
            // While nobody listens, dials are refused.
            let waiting = tokio::time::sleep(Duration::from_millis(1_500));
            futures_util::future::select(Box::pin(waiting), session.next()).await;
            server.listen()?;
        }
    }
    session.close().await?;
    assert!(matches!(next(&mut session).await, Event::Down(down) if !down.will_retry));
    assert!(session.next().now_or_never().is_some_and(|end| end.is_none()));
    Ok(())
}

#[tokio::test]
async fn accept_then_drop_is_no_storm() -> Result<(), BoxError> {
    let window = Duration::from_secs(4);
    let scripts = [
        Script::close(1000, ""),
        Script::close(1011, ""),
        Script::close(1013, ""),
        Script::fin(),
        Script::rst(),
        Script::status(500, &[]),
        Script::status(503, &[("Retry-After", "30")]),
    ];
    let storms = scripts.map(|script| async move {
        let server = Server::start(script.clone()).await?;
        let start = Instant::now();
        let _ = timeout(window, async {
            let mut session = session(ReconnectLayer::new(), &server).await?;
            while session.next().await.is_some() {}
            Ok::<_, ReconnectError>(())
        })
        .await;
        assert!(start.elapsed() >= window, "gave up on {script:?}");
        // One a second at the very most; three by the backoff.
        Ok::<_, BoxError>((server.dials(), script))
    });
    for outcome in futures_util::future::join_all(storms).await {
        let (dials, script) = outcome?;
        assert!((1..=4).contains(&dials), "{dials} dials, {script:?}");
        let parked = matches!(
            &script,
            Script::Close { code: 1013, .. } | Script::Status { code: 503, .. }
        );
        assert!(!parked || dials == 1, "{dials} dials, {script:?}");
    }
    Ok(())
}
