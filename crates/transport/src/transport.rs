use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;
use tower_layer::Layer;
use tower_ws_core::{Deadlines, Lift};

use crate::{LiftLayer, Lifted, Limits, Subprotocols, Upgrade, UpgradeLayer, WebSocket, WebSocketWire};

/// [`LiftLayer`] over [`UpgradeLayer`]: a connector becomes a service of WebSocket connections.
///
/// See the [crate docs](crate) for an example. Use the two apart to put something between them: there, a target is an
/// `http::Request<()>`, and tower-http's request layers fit.
#[derive(Clone, Debug, Default)]
pub struct TransportLayer {
    upgrade: UpgradeLayer,
    lift: LiftLayer,
}

/// The service of [`TransportLayer`].
pub type Transport<C> = Lifted<Upgrade<C>>;

/// The connection of [`Transport`], over byte streams of type `IO`.
pub type WebSocketConnection<IO> = Lift<WebSocket<IO>, Message, WebSocketWire>;

impl TransportLayer {
    /// The defaults: see [`UpgradeLayer::new`], [`Limits`] and [`Deadlines`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers these subprotocols, the preferred one first.
    #[must_use]
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.upgrade = self.upgrade.subprotocols(names);
        self
    }

    /// Sets how the server's choice is judged. Default [`Subprotocols::Strict`].
    #[must_use]
    pub fn subprotocol_mode(mut self, mode: Subprotocols) -> Self {
        self.upgrade = self.upgrade.subprotocol_mode(mode);
        self
    }

    /// Sets how long one dial may take in all. Default [`UpgradeLayer::TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.upgrade = self.upgrade.timeout(timeout);
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.upgrade = self.upgrade.limits(limits);
        self.lift = self.lift.limits(limits);
        self
    }

    /// Sets how long an open connection waits for its peer.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.lift = self.lift.deadlines(deadlines);
        self
    }
}

impl<C> Layer<C> for TransportLayer {
    type Service = Transport<C>;

    fn layer(&self, connector: C) -> Transport<C> {
        self.lift.layer(self.upgrade.layer(connector))
    }
}
