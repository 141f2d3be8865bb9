//! tower-mcp's client over its WebSocket transport, which has no settings that matter here.

use std::sync::Arc;

use serde_json::{Value, json};
use tower_mcp::client::{McpClient, NotificationHandler, WebSocketClientConfig, WebSocketClientTransport};

use super::report::{Pushes, say};
use super::{Orders, Outcome};
use crate::BoxError;
use crate::work::Event;

pub(super) async fn run(orders: Orders) -> Result<(), BoxError> {
    let config = WebSocketClientConfig {
        bearer: orders.work.token.then(|| "token-1".to_owned()),
        ..WebSocketClientConfig::default()
    };
    let pushes = Pushes::new(orders.work.handling_ms);
    let handler = NotificationHandler::new().on_log_message(move |said| {
        pushes.came_at_once(said.data[0].as_u64().unwrap_or_default());
    });
    let transport = WebSocketClientTransport::connect_with_config(&orders.url, config).await?;
    let client = McpClient::connect_with_handler(transport, handler).await?;
    client.initialize("scoreboard", "1").await?;
    say(&Event::Up);
    super::work(Client(Arc::new(client)), orders.work).await;
    Ok(())
}

#[derive(Clone)]
struct Client(Arc<McpClient>);

impl super::Client for Client {
    async fn call(&self, n: u64, pad: String, _safe: bool) -> Outcome {
        let outcome = self.0.request::<_, Value>("apply", &json!([n, pad])).await;
        // It has no event for that.
        if !self.0.is_connected() {
            say(&Event::Over {
                why: "not connected".to_owned(),
            });
        }
        outcome.into()
    }

    async fn feed(&self, n: u64, pad: String) -> Result<(), String> {
        self.0
            .notify("apply", &json!([n, pad]))
            .await
            .map_err(|error| error.to_string())
    }
}
