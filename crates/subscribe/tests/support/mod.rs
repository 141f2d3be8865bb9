//! A session whose connection and server the test plays.

#![allow(dead_code, reason = "each test uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::future::poll_fn;

use futures_util::{SinkExt, StreamExt, future::poll_immediate};
use serde_json::{Value, json};
use tower_ws_core::{Closed, Event, Failure, FailureKind, Outgoing, Wrap};
use tower_ws_subscribe::{Dialect, Heard, JsonRpc, SubscribeConnection, SubscribeLayer, Subscription};
use tower_ws_test_kit::ManualConnection;
use tower_ws_transport::JsonText;

pub(crate) struct Session<D> {
    pub(crate) layer: SubscribeConnection<ManualConnection<String>, D, String>,
    pub(crate) server: ManualConnection<String>,
    heard: usize,
}

pub(crate) fn ethereum() -> JsonRpc<JsonText> {
    JsonRpc::ethereum(JsonText)
}

pub(crate) fn gone() -> Failure {
    Failure::new(FailureKind::Network, "gone")
}

impl<D: Dialect<String>> Session<D> {
    /// Its first `Up` has been read.
    pub(crate) async fn begin(layer: SubscribeLayer<D, String>) -> Self {
        let server = ManualConnection::new();
        let mut session = Self {
            layer: layer.wrap(server.clone()),
            server,
            heard: 0,
        };
        session.up().await;
        session
    }

    pub(crate) async fn up(&mut self) {
        self.server.up();
        assert!(matches!(self.next().await, Some(Event::Up(_))));
    }

    /// The connection goes, and another comes.
    pub(crate) async fn redial(&mut self) {
        self.down().await;
        self.up().await;
        self.quiet().await;
    }

    pub(crate) async fn down(&mut self) {
        self.server.down(gone(), true);
        let down = self.next().await;
        assert!(matches!(&down, Some(Event::Down(_))), "{down:?}");
    }

    /// The next event, if there is one.
    pub(crate) async fn next(&mut self) -> Option<Event<String>> {
        poll_immediate(self.layer.next()).await.flatten()
    }

    /// Nothing for the application.
    pub(crate) async fn quiet(&mut self) {
        if let Some(event) = poll_immediate(self.layer.next()).await {
            panic!("{}", shown(event));
        }
    }

    /// The application says this.
    pub(crate) async fn send(&mut self, message: impl ToString) {
        self.try_send(Outgoing::new(message.to_string())).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, item: Outgoing<String>) -> Result<(), Closed> {
        poll_immediate(self.layer.send(item)).await.expect("it is ready")
    }

    /// The application says this, if it may now.
    pub(crate) async fn offer(&mut self, message: impl ToString) -> bool {
        let Some(ready) = poll_immediate(poll_fn(|cx| self.layer.poll_ready_unpin(cx))).await else {
            return false;
        };
        ready.unwrap();
        self.layer.start_send_unpin(Outgoing::new(message.to_string())).unwrap();
        true
    }

    /// What the server has heard since it was last asked.
    pub(crate) fn heard(&mut self) -> Vec<Value> {
        let all = self.server.sent_after(self.heard);
        self.heard += all.len();
        all.iter()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str())))
            .collect()
    }

    /// The one message that the server has heard.
    pub(crate) fn heard_one(&mut self) -> Value {
        let mut all = self.heard();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The server says this, and the application hears it so.
    pub(crate) async fn told(&mut self, message: Value) -> Value {
        self.server.say(message.to_string());
        self.message().await
    }

    /// What the application hears.
    pub(crate) async fn message(&mut self) -> Value {
        match self.next().await {
            Some(Event::Message(said)) => serde_json::from_str(&said).unwrap(),
            other => panic!("a message, and not {other:?}"),
        }
    }

    /// The server says this, and the application hears nothing of it.
    pub(crate) async fn swallowed(&mut self, message: Value) {
        self.server.say(message.to_string());
        self.quiet().await;
    }

    /// The application subscribes by this request, and is answered with this id.
    pub(crate) async fn subscribe(&mut self, request: u64, what: &str, id: Value) -> Value {
        self.send(subscribe(request, what)).await;
        assert_eq!(self.heard_one(), subscribe(request, what));
        self.told(answer(&json!(request), id)).await["result"].clone()
    }

    /// The server has heard again what begins this, and answers with this id. The application hears
    /// nothing of it.
    pub(crate) async fn subscribed_again(&mut self, what: &str, id: Value) -> u64 {
        let said = self.heard_one();
        assert_eq!(
            (&said["method"], &said["params"][0]),
            (&json!("eth_subscribe"), &json!(what))
        );
        self.swallowed(answer(&said["id"], id)).await;
        said["id"].as_u64().unwrap()
    }
}

fn shown(event: Option<Event<String>>) -> String {
    match event {
        Some(Event::Message(said)) => said,
        other => format!("{other:?}"),
    }
}

pub(crate) fn subscribe(request: u64, what: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": request, "method": "eth_subscribe", "params": [what] })
}

pub(crate) fn unsubscribe(request: u64, id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request, "method": "eth_unsubscribe", "params": [id] })
}

pub(crate) fn answer(request: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request, "result": result })
}

pub(crate) fn news(id: Value, what: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": { "subscription": id, "result": what } })
}

/// What there is to read of a subscription, in short.
pub(crate) async fn read(subscription: &mut Subscription<String>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(item)) = poll_immediate(subscription.next()).await {
        all.push(match item {
            Heard::Item(said) => match serde_json::from_str::<Value>(&said) {
                Ok(said) if said["params"]["result"] != Value::Null => said["params"]["result"].to_string(),
                _ => said,
            },
            Heard::Update(update) => format!("{update:?}").split([' ', '(', '{']).next().unwrap().to_owned(),
            other => format!("{other:?}"),
        });
    }
    all
}
