use tower_layer::Layer;

use crate::{circuit::Circuit, handle::Handle};

/// Makes requests fail at once in a long outage, instead of waiting for it to end.
///
/// A plain layer for the message plane: it goes on a client, or on whatever is ready only with a
/// connection. It opens when so many attempts in a row have failed, or at once when the session is
/// [offline](Handle::go_offline), and closes with the next connection: reconnect goes on dialling,
/// so there is nothing to probe. While it is open a request fails with
/// [`CircuitOpen`](crate::CircuitOpen), which names the cause and when the next attempt begins; not
/// a byte of it was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
/// # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
/// # let url = server.url();
/// use http::Request;
/// use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
/// use tower_ws_reconnect::{CircuitLayer, ReconnectLayer};
/// use tower_ws_connector::tcp_connector;
/// use tower_ws_transport::TransportLayer;
///
/// let (reconnect, handle) = ReconnectLayer::pair();
/// let connect = ServiceBuilder::new()
///     .layer(reconnect)
///     .layer(TransportLayer::new())
///     .service(tcp_connector());
/// let session = connect.oneshot(Request::get(url).body(())?).await?;
///
/// // A client's calls, say.
/// let calls = service_fn(async |call: &'static str| Ok::<_, std::convert::Infallible>(call));
/// let calls = CircuitLayer::new(handle).after(2).layer(calls);
/// assert_eq!(calls.oneshot("hello").await?, "hello");
/// # drop(session);
/// # Ok(()) }
/// ```
///
/// # What it does not do
///
/// - It takes nothing back that was accepted before: those requests wait for the connection, within
///   their own deadlines.
/// - It looks at the session, not at answers: a server that is connected and answers with errors is
///   no outage.
#[derive(Clone, Debug)]
pub struct CircuitLayer {
    handle: Handle,
    after: u32,
}

impl CircuitLayer {
    /// The default of [`after`](Self::after): 3. With the default backoff that is a good two
    /// seconds without a connection, longer than a restart takes.
    pub const AFTER: u32 = 3;

    /// Watches the session of this handle.
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            after: Self::AFTER,
        }
    }

    /// Sets after how many failed attempts in a row it opens. Default 3. With 0 it opens with the
    /// loss of the connection.
    #[must_use]
    pub fn after(mut self, failures: u32) -> Self {
        self.after = failures;
        self
    }
}

impl<S> Layer<S> for CircuitLayer {
    type Service = Circuit<S>;

    fn layer(&self, inner: S) -> Circuit<S> {
        Circuit::new(inner, self.handle.clone(), self.after)
    }
}
