//! From a builder to a session.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Once},
};

use tokio::runtime::Handle;
use tower::{Layer, Service, ServiceExt};
use tower_ws_client::{Client, Inbound};
#[cfg(feature = "tls")]
use tower_ws_connector::connector;
#[cfg(not(feature = "tls"))]
use tower_ws_connector::tcp_connector as connector;
use tower_ws_connector::{WsUrl, proxy::Proxies};
use tower_ws_core::{BoxError, Connection, Failure, FailureKind};
use tower_ws_messages::{Events, MessagesLayer, Sender};
use tower_ws_reconnect::{FailoverLayer, Policy, Targets};
use tower_ws_transport::{Message, TransportLayer};

use crate::{
    builder::{Builder, Framed, Own},
    error::ConnectError,
    slot::{BoxConnector, Dial, Slot, erase, erase_connector},
    stack::Layers,
};

type Request = http::Request<()>;

/// A builder whose settings are checked.
struct Parts {
    name: Option<String>,
    /// Host and port of each endpoint.
    server: String,
    request: Request,
    fallbacks: Vec<Request>,
    layers: Layers,
    failover: FailoverLayer,
    transport: TransportLayer,
    own: Own,
}

/// A session on its way. Boxed, so that a program's own futures do not grow by a whole stack.
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

pub(crate) fn calls(builder: Builder) -> Result<Connecting<(Client, Inbound)>, ConnectError> {
    let mut parts = Parts::check(builder)?;
    let mut layers = parts.layers.clone();
    layers.client = layers.client.server(parts.server.clone());
    if let Some(name) = parts.name.take() {
        layers.client = layers.client.name(name);
    }
    if parts.is_plain() {
        let connections = layers.health.layer(parts.transport.layer(connector()));
        let stack = layers.calls(layers.links(connections));
        return Ok(Box::pin(stack.oneshot(parts.request)));
    }
    Ok(match parts.own.store.take() {
        None => Box::pin(layers.calls(parts.session()).oneshot(())),
        Some(store) => {
            let queue = store(layers.queue, erase(layers.ack.layer(parts.session())));
            let stack = layers.client.layer(layers.session_metrics.layer(queue));
            Box::pin(stack.oneshot(()))
        }
    })
}

pub(crate) fn messages(
    builder: Builder,
    mut messages: MessagesLayer<Message>,
) -> Result<Connecting<(Sender<Message>, Events<Message>)>, ConnectError> {
    let mut parts = Parts::check(builder)?;
    let layers = parts.layers.clone();
    messages = messages.server(parts.server.clone());
    if let Some(name) = parts.name.take() {
        messages = messages.name(name);
    }
    if parts.is_plain() {
        let connections = layers.health.layer(parts.transport.layer(connector()));
        let stack = layers.messages(messages, layers.links(connections));
        return Ok(Box::pin(stack.oneshot(parts.request)));
    }
    Ok(match parts.own.store.take() {
        None => Box::pin(layers.messages(messages, parts.session()).oneshot(())),
        Some(store) => {
            let queue = store(layers.queue, parts.session());
            let stack = messages.layer(layers.session_metrics.layer(queue));
            Box::pin(stack.oneshot(()))
        }
    })
}

/// What makes one connection, without a session around it, and what it is called with.
pub(crate) fn dial(builder: Builder) -> Result<(Dial, Request), ConnectError> {
    let parts = Parts::check(builder)?;
    let request = parts.request.clone();
    Ok((
        Parts::connections(parts.transport, parts.own.framing, parts.own.connector, parts.own.below),
        request,
    ))
}

impl Parts {
    /// All that is the same for each kind of session.
    fn check(builder: Builder) -> Result<Self, ConnectError> {
        if Handle::try_current().is_err() {
            let failure = Failure::new(
                FailureKind::Usage,
                "there is no tokio runtime: call `connect` within one, as under `#[tokio::main]`",
            );
            return Err(ConnectError(failure.into()));
        }
        let (mut layers, mut failover) = (builder.layers, builder.failover);
        if let Some(table) = builder.dispositions {
            layers.reconnect = layers.reconnect.dispositions(table.clone());
            failover = failover.dispositions(table.clone());
            #[cfg(feature = "auth")]
            for credentials in builder.credentials {
                let _ = credentials.dispositions(table.clone());
            }
        }
        let blank = builder.request.body(()).map_err(|error| ConnectError(error.into()))?;
        let to = |url: &String| {
            let mut request = blank.clone();
            let url = WsUrl::parse(url).map_err(|error| ConnectError(Failure::from(error).into()))?;
            *request.uri_mut() = url.uri().clone();
            Ok(request)
        };
        let request = to(&builder.url)?;
        if builder.own.connector.is_none() {
            warn_of_unused_proxy(request.uri());
        }
        let fallbacks: Vec<_> = builder.fallbacks.iter().map(to).collect::<Result<_, _>>()?;
        let hosts = std::iter::once(&request).chain(&fallbacks);
        let hosts: Vec<_> = hosts.filter_map(|to| Some(to.uri().authority()?.as_str())).collect();
        Ok(Self {
            name: builder.name,
            server: hosts.join(", "),
            request,
            fallbacks,
            layers,
            failover,
            transport: builder.transport,
            own: builder.own,
        })
    }

    /// One endpoint, and nothing of the application's own: each layer's type is known.
    fn is_plain(&self) -> bool {
        let Own {
            store,
            subscribe,
            policy,
            rate_limit,
            probe,
            below,
            framing,
            connector,
        } = &self.own;
        self.fallbacks.is_empty()
            && (store.is_none() && subscribe.is_none() && policy.is_none() && rate_limit.is_none())
            && (probe.is_none() && below.is_empty() && framing.is_none() && connector.is_none())
    }

    /// What makes connections, below health.
    fn connections(
        transport: TransportLayer,
        framing: Option<Framed>,
        own: Option<BoxConnector>,
        below: VecDeque<Slot>,
    ) -> Dial {
        let dial = match (framing, own) {
            (None, None) => erase(transport.layer(connector())),
            (None, Some(own)) => erase(transport.layer(own)),
            (Some(framing), own) => framing(transport, own.unwrap_or_else(|| erase_connector(connector()))),
        };
        below.into_iter().rev().fold(dial, |dial, layer| layer(dial))
    }

    /// The session, below what keeps messages.
    fn session(self) -> Dial<()> {
        let Self { layers, own, .. } = self;
        let mut dial = Self::connections(self.transport, own.framing, own.connector, own.below);
        dial = match own.probe {
            None => erase(layers.health.layer(dial)),
            Some(probe) => probe(layers.health.clone(), dial),
        };
        dial = above(own.rate_limit, dial);
        let session = match self.fallbacks.is_empty() {
            true => redialling(&layers, own.policy, dial, self.request),
            false => {
                let targets = Targets::new(self.request, self.fallbacks);
                redialling(&layers, own.policy, self.failover.layer(dial), targets)
            }
        };
        above(own.subscribe, session)
    }
}

fn above<T>(slot: Option<Slot<T>>, below: Dial<T>) -> Dial<T> {
    match slot {
        None => below,
        Some(layer) => layer(below),
    }
}

/// A session with this target, dialled anew by the policy.
fn redialling<S, T>(layers: &Layers, policy: Option<Arc<dyn Policy + Send + Sync>>, dial: S, target: T) -> Dial<()>
where
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    S::Response: Connection<Message = Message> + Send + 'static,
    T: Clone + Send + 'static,
{
    let to_target = move |()| target.clone();
    match policy {
        None => erase(layers.links(dial).map_request(to_target)),
        Some(policy) => {
            let reconnect = layers.reconnect.clone().policy(policy);
            erase(
                reconnect
                    .layer(layers.connection_metrics.layer(dial))
                    .map_request(to_target),
            )
        }
    }
}

/// Somebody set a proxy for this address and may take it for used. Said once.
fn warn_of_unused_proxy(address: &http::Uri) {
    static SAID: Once = Once::new();
    // What cannot be read is no proxy either.
    if Proxies::from_env().is_ok_and(|proxies| proxies.are_for(address)) {
        SAID.call_once(|| {
            tracing::warn!(
                "the environment names a proxy, which is not used: give the builder \
                 `Connect::new().through(Proxies::from_env()?)` to use it, or `connector()` to say that it is meant"
            );
        });
    }
}
