//! ezsockets' client.
//!
//! Best settings: a heartbeat each 5 s with 20 s for a sign of life, and dials 2 s apart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezsockets::client::ClientCloseMode;
use ezsockets::{Bytes, ClientConfig, ClientExt, CloseFrame, Error, SocketConfig, Utf8Bytes, WSError};

use super::report::{Pushes, say};
use super::{Orders, Outcome};
use crate::work::Event;
use crate::{BoxError, Settings};

pub(super) async fn run(orders: Orders) -> Result<(), BoxError> {
    let mut config = ClientConfig::new(orders.url.as_str());
    if orders.settings == Settings::Best {
        let heartbeat = SocketConfig {
            heartbeat: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            ..SocketConfig::default()
        };
        config = config
            .reconnect_interval(Duration::from_secs(2))
            .socket_config(heartbeat);
    }
    if orders.work.token {
        config = config.bearer("token-1");
    }
    let pushes = Pushes::new(orders.work.handling_ms);
    let (client, ended) = ezsockets::connect(|_client| Handler { pushes }, config).await;
    tokio::spawn(async move {
        let why = match ended.await {
            Ok(()) => "ended".to_owned(),
            Err(error) => error.to_string(),
        };
        say(&Event::Over { why });
    });
    super::work(Client(Arc::new(client)), orders.work).await;
    Ok(())
}

struct Handler {
    pushes: Pushes,
}

#[async_trait]
impl ClientExt for Handler {
    type Call = ();

    async fn on_text(&mut self, text: Utf8Bytes) -> Result<(), Error> {
        let mut words = text.split(' ');
        let what = words.next();
        let n = words.next().and_then(|n| n.parse().ok()).unwrap_or_default();
        match what {
            Some("done") => say(&Event::Answered { n }),
            Some("push") => self.pushes.came(n).await,
            _ => {}
        }
        Ok(())
    }

    async fn on_binary(&mut self, _bytes: Bytes) -> Result<(), Error> {
        Ok(())
    }

    async fn on_call(&mut self, (): ()) -> Result<(), Error> {
        Ok(())
    }

    async fn on_connect(&mut self) -> Result<(), Error> {
        say(&Event::Up);
        Ok(())
    }

    async fn on_connect_fail(&mut self, _error: WSError) -> Result<ClientCloseMode, Error> {
        Ok(ClientCloseMode::Reconnect)
    }

    async fn on_close(&mut self, frame: Option<CloseFrame>) -> Result<ClientCloseMode, Error> {
        say(&Event::Down {
            why: format!("{frame:?}"),
        });
        Ok(ClientCloseMode::Reconnect)
    }

    async fn on_disconnect(&mut self) -> Result<ClientCloseMode, Error> {
        say(&Event::Down {
            why: "disconnected".to_owned(),
        });
        Ok(ClientCloseMode::Reconnect)
    }
}

#[derive(Clone)]
struct Client(Arc<ezsockets::Client<Handler>>);

impl super::Client for Client {
    async fn call(&self, n: u64, pad: String, _safe: bool) -> Outcome {
        match self.0.text(format!("apply {n} {pad}")) {
            Ok(_) => Outcome::Written,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn feed(&self, n: u64, pad: String) -> Result<(), String> {
        self.0
            .text(format!("feed {n} {pad}"))
            .map(drop)
            .map_err(|error| error.to_string())
    }
}
