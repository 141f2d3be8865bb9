use std::time::Duration;

use tower_layer::Layer;
use tower_ws_core::{Deadlines, Lift};

use crate::{
    framing::{Framing, Tungstenite},
    lift::{LiftLayer, LiftService},
    limits::Limits,
    message::Message,
    upgrade::{Subprotocols, Upgrade, UpgradeLayer},
    wire::WebSocketWire,
};

/// [`LiftLayer`] over [`UpgradeLayer`]: a connector becomes a service of WebSocket connections.
///
/// See the [crate docs](crate) for an example. Use the two apart to put something between them:
/// there, a target is an `http::Request<()>`, and tower-http's request layers fit.
#[derive(Clone, Debug)]
pub struct TransportLayer<F = Tungstenite> {
    upgrade: UpgradeLayer<F>,
    lift: LiftLayer,
}

/// The service of [`TransportLayer`].
pub type Transport<C, F = Tungstenite> = LiftService<Upgrade<C, F>>;

/// The connection of [`Transport`], over byte streams of type `IO`.
pub type WebSocketConnection<IO, F = Tungstenite> = Lift<<F as Framing>::Socket<IO>, Message, WebSocketWire>;

impl TransportLayer {
    /// The defaults: see [`UpgradeLayer::new`], [`Limits`] and [`Deadlines`].
    pub fn new() -> Self {
        Self {
            upgrade: UpgradeLayer::new(),
            lift: LiftLayer::new(),
        }
    }
}

impl<F: Clone> TransportLayer<F> {
    /// Sets what frames. Default [`Tungstenite`].
    #[must_use]
    pub fn framing<G>(self, framing: G) -> TransportLayer<G> {
        TransportLayer {
            upgrade: self.upgrade.framing(framing),
            lift: self.lift,
        }
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

    /// Sets another `host` than the URL's. See [`UpgradeLayer::host`].
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.upgrade = self.upgrade.host(host);
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

impl Default for TransportLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, F> Layer<C> for TransportLayer<F> {
    type Service = Transport<C, F>;

    fn layer(&self, connector: C) -> Transport<C, F> {
        self.lift.layer(self.upgrade.layer(connector))
    }
}
