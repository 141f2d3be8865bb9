//! The server of a simulated world: JSON-RPC and plain messages over WebSocket, in the mood that the world is in.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use turmoil::net::{TcpListener, TcpStream};

use crate::world::{Mood, World};

pub(crate) const NAME: &str = "server";
/// Another one, of the same service, in some worlds.
pub(crate) const STANDBY: &str = "standby";
pub(crate) const PORT: u16 = 80;

pub(crate) async fn run(world: World, name: &'static str) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(receive(world.clone(), name, stream));
    }
}

async fn receive(world: World, name: &'static str, stream: TcpStream) {
    let mood = world.open().mood(name);
    match mood {
        Mood::Drops => return,
        Mood::Mute => std::future::pending().await,
        _ => {}
    }
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let check = |request: &Request, response: Response| {
        let wanted = format!("Bearer {}", world.open().token);
        let shown = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let (status, wait) = match mood {
            Mood::Refuses(status, wait) => (status, wait),
            _ if shown != Some(&*wanted) => (401, None),
            _ => return Ok(response),
        };
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = status.try_into().unwrap();
        if let Some(seconds) = wait {
            refusal.headers_mut().insert("retry-after", seconds.into());
        }
        Err(refusal)
    };
    if let Ok(socket) = accept_hdr_async(stream, check).await
        && mood != Mood::Fleeting
    {
        let _ = talk(world, name, socket).await;
    }
}

/// Between two notifications.
const TICK: Duration = Duration::from_millis(700);

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn talk(world: World, name: &str, mut socket: Socket) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let connection = world.receive(turmoil::sim_elapsed().unwrap());
    let (mut kicks, mut floods) = (world.kicks(), world.floods());
    // What was subscribed to on this connection, and the number of the last notification.
    let (mut subscribed, mut told) = (None, 0);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            // In this order: drawn lots would differ from run to run.
            biased;
            _ = kicks.changed() => {
                let (_, code) = *kicks.borrow_and_update();
                if let Some(code) = code {
                    socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: "".into() })).await?;
                }
                return Ok(());
            }
            _ = floods.changed() => {
                let pushes = *floods.borrow_and_update();
                for n in 0..pushes {
                    socket.feed(Message::text(json!({ "jsonrpc": "2.0", "method": "push", "params": [n] }).to_string())).await?;
                }
                socket.flush().await?;
            }
            _ = ticks.tick(), if subscribed.is_some() => {
                told += 1;
                let params = json!({ "subscription": subscribed, "result": told });
                let news = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params });
                socket.send(Message::text(news.to_string())).await?;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) if text.contains("eth_subscribe") => {
                    let asked: Value = serde_json::from_str(&text).unwrap();
                    let id = format!("0x{connection:x}");
                    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": id });
                    subscribed = Some(id);
                    socket.send(Message::text(answer.to_string())).await?;
                }
                Some(Ok(Message::Text(text))) => {
                    if let Some(answer) = hear(&world, name, connection, &text) {
                        socket.send(Message::text(answer)).await?;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

/// Applies what is said: a call `{"method": …, "params": [n]}`, a notification, a plain `n`, or `{"confirm": n}`, which
/// is acknowledged.
fn hear(world: &World, name: &str, connection: usize, text: &str) -> Option<String> {
    let said: Value = serde_json::from_str(text).unwrap();
    let numbers = [&said, &said["params"][0], &said["confirm"]];
    let number = numbers.into_iter().find_map(Value::as_u64).unwrap();
    world.apply(number);
    let deaf = world.open().mood(name) == Mood::Deaf;
    match (said.get("id"), said.get("confirm")) {
        (Some(id), _) => (!deaf).then(|| json!({ "jsonrpc": "2.0", "id": id, "result": number }).to_string()),
        (None, Some(_)) => {
            world.open().told[connection].push(number);
            (!deaf).then(|| json!({ "confirmed": number }).to_string())
        }
        (None, None) => {
            world.open().told[connection].push(number);
            None
        }
    }
}
