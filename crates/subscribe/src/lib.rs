//! A tower layer that says subscriptions again on each connection, and knows them by the names that
//! the application has.
//!
//! A server forgets its subscriptions with the connection. [`SubscribeLayer`] stands over any
//! service whose response is a [`Connection`](tower_ws_core::Connection); it learns what begins and
//! what ends a subscription as it goes out, says what stands again after each
//! [`Up`](tower_ws_core::Up), and gives what comes in the name that the application knows, where
//! the server gives another each time. Its own requests, and their answers, are seen by no layer
//! above. A [`Dialect`] says what the protocol looks like; [`JsonRpc`] (Ethereum, Polkadot,
//! Solana), [`Channels`] (exchanges) and [`GraphQl`] are ready-made.
//!
//! # When to use it
//!
//! Whenever the server tells of its own accord what it was asked to tell once. It stands **above
//! reconnect**, which makes the next connection, and **below ack**: what stands is said first, then
//! what ack sends again, then what is new. The rate limit below paces it. Without it a session goes
//! on after an outage, and hears nothing more.
//!
//! # Example
//!
//! The application subscribes by a call of its own, and notices nothing of the next connection but
//! a gap:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use serde_json::{Value, json};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_ack::AckLayer;
//! use tower_ws_client::{ClientLayer, Incoming};
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_subscribe::{JsonRpc, SubscribeLayer};
//! use tower_ws_transport::{JsonText, memory};
//!
//! let (transport, mut server) = memory::channel::<String>(16);
//! tokio::spawn(async move {
//!     // Each connection is lost after one notification, under an id of its own.
//!     for id in ["0xa", "0xb", "0xc"] {
//!         let mut socket = server.accept().await.expect("somebody dials");
//!         let asked = socket.next().await.expect("it subscribes").expect("text");
//!         let asked: Value = serde_json::from_str(&asked).expect("JSON");
//!         assert_eq!(asked["method"], "eth_subscribe");
//!         let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": id });
//!         socket.send(answer.to_string()).await.expect("it reads");
//!         let params = json!({ "subscription": id, "result": "a head" });
//!         let told = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params });
//!         socket.send(told.to_string()).await.expect("it reads");
//!     }
//! });
//!
//! let stack = ServiceBuilder::new()
//!     .layer(ClientLayer::new(JsonText))
//!     .layer(AckLayer::new(tower_ws_ack::JsonRpc::new(JsonText)))
//!     // Below what is sent again, above reconnect.
//!     .layer(SubscribeLayer::new(JsonRpc::ethereum(JsonText)))
//!     .layer(ReconnectLayer::new())
//!     .service(transport);
//! let (client, mut inbound) = stack.oneshot(()).await?;
//!
//! let id: String = client.request("eth_subscribe", &["newHeads"]).await?;
//! let mut heads = 0;
//! while heads < 3 {
//!     if let Some(Incoming::Notification(told)) = inbound.next().await {
//!         let params: Value = told.params()?;
//!         assert_eq!(params["subscription"], id);
//!         heads += 1;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Configuration
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_subscribe::{Channels, SubscribeLayer};
//! use tower_ws_transport::{JsonText, Message};
//!
//! let (layer, handle) = SubscribeLayer::pair(Channels::okx(JsonText));
//! let layer = layer
//!     .room(200, 64 * 1024)
//!     .patience(Duration::from_secs(1))
//!     // Said from the first connection on.
//!     .standing(Message::from(r#"{"op":"subscribe","args":[{"channel":"status"}]}"#));
//!
//! // From any thread: what stands, what becomes of it, and more of it.
//! assert_eq!(handle.snapshot().standing, 0);
//! let changes = handle.changes();
//! let subscription = handle.subscribe(Message::from(
//!     r#"{"op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]}"#,
//! ));
//! # let _ = (layer, changes, subscription);
//! ```
//!
//! # Three ways to subscribe
//!
//! | | who says it first | what comes in | what becomes of it |
//! |---|---|---|---|
//! | the application, by a message or a call | the application, and it reads the answer | goes up, under the name that it knows | [`Handle::changes`] |
//! | [`SubscribeLayer::standing`] | the layer, on each connection | goes up | [`Handle::changes`] |
//! | [`Handle::subscribe`], [`Subscriber`] | the layer, as soon as there is a connection | a stream of its own, [`Subscription`] or [`Items`], by type | the same stream, in order: [`Update`] |
//!
//! # What becomes of a subscription
//!
//! | what happens | it |
//! |---|---|
//! | the server has it, or, where the client gives the names, it is said | is [active](Update::Active) |
//! | the connection is lost | is [lost](Update::Lost), and said again on the next, in the order of the first time |
//! | the server has it again | is [active again](Update::Resumed), with the gap: from, to, why |
//! | the server says that it [continues](tower_ws_core::Up::resumed) the last connection | is active again, and not said |
//! | the server refuses it again | [ends](Ended::Refused), alone, with the server's words; a WARN |
//! | the server ends it | [ends](Ended::ByServer); the message that says so goes to whoever reads |
//! | the application ends it, or drops its stream | is taken back, under its present name |
//! | the same, while it is being said again | is taken back once the answer gives its name; the application's own request comes back as refused |
//! | the caller of the application's own request gives up before the answer | is taken back once that comes |
//! | several want the same channel, or the server gives two one name | to the server they are one: said once, and taken back with the last. An application that takes back what a handle reads, too, gets its message back as refused |
//! | a rate limit below [refuses](tower_ws_core::DropReason::Refused) it, rather than let it wait | is said again a second later |
//! | its stream is read too slowly | by its [`Lag`]: the oldest items go and a [gap](Heard::Skipped) says so; all wait; or it ends |
//! | the session ends | [ends](Ended::Closed) with the reason |
//!
//! A request of the application's whose answer gives the name, and which is not answered when the
//! connection is lost, belongs to whoever keeps it: ack sends it again or gives it back, and it
//! begins no subscription until then.
//!
//! Numbers of requests come from the session's [`Ids`](tower_ws_core::jsonrpc::Ids), which the
//! client takes, too. Where no layer below has left them in [`Up`](tower_ws_core::Up) this one
//! does, and they begin at a random place: an application that counts for itself begins at 1.
//!
//! # Defaults
//!
//! | | | why |
//! |---|---|---|
//! | [subscriptions](SubscribeLayer::MESSAGES) | 1,024 | each is a message on each connection |
//! | [their size](SubscribeLayer::BYTES) | 1 MiB | it stays in memory, and goes out at each redial |
//! | [patience](SubscribeLayer::PATIENCE) | 5 s | new messages wait so long for those that stand, then they take turns: with a limit of five messages a second, a thousand would hold up calls for minutes |
//! | [items of a stream](Handle::ROOM) | 256, 16 MiB | as many as a client keeps of what its peer says |
//! | [the first answer](Subscriber::TIMEOUT) | 60 s | as long as that of a call |
//!
//! # Metrics
//!
//! [Shown](tower_ws_core::Readings) to the layers above; that of `tower-ws-metrics` publishes them.
//!
//! | name | type | labels | meaning |
//! |---|---|---|---|
//! | `tower_ws_subscribe_subscriptions` | gauge | `state` | subscriptions that stand: `active`, `waiting` |
//! | `tower_ws_subscribe_bytes` | gauge | | the size of the messages that begin them |
//! | `tower_ws_subscribe_said_total` | counter | | subscriptions said by the layer, again or first |
//! | `tower_ws_subscribe_refused_total` | counter | | subscriptions refused, by the server or for want of room |
//! | `tower_ws_subscribe_duplicates_total` | counter | | messages that came twice, by their sequence numbers |
//! | `tower_ws_subscribe_missed_total` | counter | | sequence numbers that are missing |
//!
//! # What it does not do
//!
//! - It does not redial, and it fetches nothing of what was told while there was no connection,
//!   unless the protocol can resume from a number ([`Sequenced::resume`]).
//! - It keeps no message that begins no subscription, and no subscription beyond the process.
//! - It does not send an unanswered request of the application's again: ack does.
//! - It says the same words again: a token in them is as old as they are. Credentials belong into the
//!   handshake, or into an opening below.
//! - It opens nothing: a login, or `connection_init` of GraphQL, is an
//!   [`OpeningLayer`](tower_ws_core::OpeningLayer) below.
//! - It holds back no notification that comes before the answer which gives its id: that passes
//!   under the server's id. Servers answer first.
//! - It knows no subscription that is made in a batch of JSON-RPC, and none by another number of
//!   request than a whole one.
//! - It does not wait for answers before new messages go: *said* is not *active*.

mod connection;
mod dialect;
mod entry;
mod feed;
mod handle;
mod layer;
mod numbers;
mod profile;
mod service;
mod standing;
mod subscriber;
mod subscription;
mod update;

pub use self::{
    connection::SubscribeConnection,
    dialect::{Dialect, Hears, Says, To},
    feed::{Heard, Lag},
    handle::{Change, Handle, Snapshot},
    layer::SubscribeLayer,
    profile::{Anew, Channels, GraphQl, JsonRpc, Resume, Sequenced},
    service::Subscribe,
    subscriber::{Items, SubscribeError, Subscriber},
    subscription::Subscription,
    update::{Ended, Gap, Update},
};
