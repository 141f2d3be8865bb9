//! Over real sockets, with client and ack above, and a server that is restarted several times and
//! gives other ids each time.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_ack::{AckLayer, JsonRpc as Acks};
use tower_ws_client::{ClientLayer, Inbound, Incoming};
use tower_ws_connector::tcp_connector;
use tower_ws_core::BoxError;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_subscribe::{Heard, Items, JsonRpc, SubscribeLayer, Update};
use tower_ws_test_kit::{Cut, Script, Server};
use tower_ws_transport::{JsonText, Message, TransportLayer};

const PATIENCE: Duration = Duration::from_secs(20);

/// A node that gives ids from a counter which begins elsewhere on each connection.
struct Node {
    server: Server,
    heard: usize,
    next_id: u64,
}

impl Node {
    /// The next request that it hears.
    async fn hears(&mut self) -> Value {
        self.heard += 1;
        timeout(PATIENCE, self.server.wait_received(self.heard)).await.unwrap();
        let heard = &self.server.received()[self.heard - 1];
        serde_json::from_slice(heard.message.as_bytes()).unwrap()
    }

    fn says(&self, message: Value) {
        self.server.push(Message::text(message.to_string()));
    }

    /// It hears a subscription, and answers with an id.
    async fn subscribed(&mut self, what: &str) -> u64 {
        let asked = self.hears().await;
        assert_eq!(
            (&asked["method"], &asked["params"][0]),
            (&json!("eth_subscribe"), &json!(what))
        );
        self.next_id += 1;
        self.says(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": self.next_id }));
        self.next_id
    }

    fn tells(&self, id: u64, what: Value) {
        let params = json!({ "subscription": id, "result": what });
        self.says(json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params }));
    }
}

async fn item<K: tower_ws_core::jsonrpc::Codec<Message>>(items: &mut Items<u64, K, Message>) -> Heard<u64> {
    timeout(PATIENCE, items.next()).await.unwrap().unwrap()
}

/// The next notification that the application hears: under which id, and what.
async fn notification(inbound: &mut Inbound) -> (u64, u64) {
    loop {
        match timeout(PATIENCE, inbound.next()).await.unwrap().unwrap() {
            Incoming::Notification(told) => {
                let params: Value = told.params().unwrap();
                let number = |key: &str| params[key].as_u64().unwrap();
                return (number("subscription"), number("result"));
            }
            Incoming::Up(_) | Incoming::Down(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn subscriptions_survive_restarts_under_other_ids() -> Result<(), BoxError> {
    let server = Server::start(Script::Silent).await?;
    let mut node = Node {
        server,
        heard: 0,
        next_id: 0,
    };
    let (layer, handle) = SubscribeLayer::pair(JsonRpc::ethereum(JsonText));
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(AckLayer::new(Acks::new(JsonText)))
        .layer(layer)
        .layer(ReconnectLayer::new())
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let target = Request::get(node.server.url()).body(())?;
    let (client, mut inbound) = stack.oneshot(target).await?;

    // One that the application makes, and one that the layer does.
    let asks = client.request::<_, u64>("eth_subscribe", &["logs"]);
    let (known, logs) = tokio::join!(asks, node.subscribed("logs"));
    let known = known?;
    assert_eq!(known, logs);
    let subscriber = handle.json_rpc(JsonText);
    let asks = subscriber.subscribe::<u64>("eth_subscribe", &["newHeads"], "eth_unsubscribe");
    let (heads, mut id) = tokio::join!(asks, node.subscribed("newHeads"));
    let (mut heads, mut logs) = (heads?, logs);

    for restart in 1..=3 {
        node.tells(id, json!(restart));
        node.tells(logs, json!(restart));
        assert!(matches!(item(&mut heads).await, Heard::Item(head) if head == restart));
        assert_eq!(notification(&mut inbound).await, (known, restart));

        node.server.refuse();
        node.server.cut(if restart % 2 == 0 { Cut::Rst } else { Cut::Fin });
        assert!(matches!(item(&mut heads).await, Heard::Update(Update::Lost { .. })));
        node.server.listen()?;
        // Ids that others had before, and never the same.
        node.next_id = if restart % 2 == 0 { known } else { known + 100 * restart };
        logs = node.subscribed("logs").await;
        id = node.subscribed("newHeads").await;
        match item(&mut heads).await {
            Heard::Update(Update::Resumed(gap)) => assert!(gap.to > gap.from),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(handle.snapshot().standing, 2);

    // A call in between is not held up, and both are taken back under their present ids.
    drop(heads);
    let taken_back = node.hears().await;
    assert_eq!(
        (&taken_back["method"], &taken_back["params"]),
        (&json!("eth_unsubscribe"), &json!([id]))
    );
    node.says(json!({ "jsonrpc": "2.0", "id": taken_back["id"], "result": true }));
    let params = [known];
    let takes_back = client.request::<_, bool>("eth_unsubscribe", &params);
    let answers = async {
        let asked = node.hears().await;
        assert_eq!(
            (&asked["method"], &asked["params"]),
            (&json!("eth_unsubscribe"), &json!([logs]))
        );
        node.says(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": true }));
    };
    let (taken_back, ()) = tokio::join!(takes_back, answers);
    assert!(taken_back?);
    assert_eq!(handle.snapshot().standing, 0);
    Ok(())
}

#[tokio::test]
async fn a_thousand_subscriptions_are_back_after_a_redial() -> Result<(), BoxError> {
    let mut node = Node {
        server: Server::start(Script::Silent).await?,
        heard: 0,
        next_id: 0,
    };
    let (layer, handle) = SubscribeLayer::<_, Message>::pair(JsonRpc::ethereum(JsonText));
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(layer)
        .layer(ReconnectLayer::new())
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let target = Request::get(node.server.url()).body(())?;
    let (_client, _inbound) = stack.oneshot(target).await?;
    let say = |n: usize| {
        let text = json!({ "jsonrpc": "2.0", "id": 0, "method": "eth_subscribe", "params": [n.to_string()] });
        handle.subscribe(Message::text(text.to_string()))
    };
    let _all: Vec<_> = (0..1024).map(say).collect();
    for connection in 1..=2 {
        for n in 0..1024 {
            node.subscribed(&n.to_string()).await;
        }
        let active = async {
            while handle.snapshot().active < 1024 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, active).await.unwrap();
        if connection == 1 {
            node.server.cut(Cut::Rst);
        }
    }
    Ok(())
}
