//! What is wrong on the way to a server, whose fault it is, and what to do: [`Builder::examine`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//! let report = tower_ws::builder(url).examine().await;
//! assert!(report.is_ok(), "{report}");
//! # Ok(()) }
//! ```
//!
//! | step | what is looked at |
//! |---|---|
//! | `url` | the address; a scheme that does not fit its port |
//! | `proxy` | whether the environment names one for this address, and whether it is used |
//! | `dns` | all addresses of the name, unless the guard refuses it or the connector is your own |
//! | `tcp` | whether each of them takes a connection, but for those that the guard refuses |
//! | `dial` | the whole dial, by the builder's own transport, connector, credentials and layers: proxy, TLS, upgrade, subprotocol, opening. The one step whose failure is what a session would meet |
//! | `mcp` | the revision that is spoken, the server, what it offers: where the dial opens MCP, as with `McpBuilder::examine` |
//! | `ping` | three round trips, 100 ms apart, and whether the server closes meanwhile |
//! | `close` | whether the server says goodbye |
//!
//! It makes one dial, and one TCP connection to each address besides. It takes at most some 10 s for each step that
//! hangs. Dropping the future ends it.
//!
//! # What it does not do
//!
//! An MCP server's name and version are told as it says them, escaped and cut. It redials nothing, and sends nothing but pings. It goes past no guard: what the dial is not allowed, it does not do
//! either. `dns` and `tcp` are of the default connector, which uses no proxy. Of a certificate that is refused it says
//! what the dial says, and it does not know when one that is good will expire.

mod cause;
#[cfg(feature = "mcp")]
mod mcp;
mod network;
mod report;
mod session;

use tower_ws_connector::WsUrl;

pub use self::{
    cause::Cause,
    report::{Fault, Report, State, Step},
};
use crate::builder::Builder;

impl Builder {
    /// Looks at the way to the server step by step, instead of connecting. See [`doctor`](crate::doctor).
    ///
    /// [Fallbacks](Self::fallback) are not looked at.
    pub async fn examine(self) -> Report {
        let mut report = Report {
            schema: 1,
            server: String::new(),
            steps: Vec::new(),
        };
        let url = match WsUrl::parse(&self.url) {
            Ok(url) => url,
            Err(error) => {
                report.steps.push(network::no_url(&error));
                return report;
            }
        };
        report.server = url.redacted().to_string();
        // What the system's resolver and a direct connection say need not be what a connector of one's own does; and
        // that may have another guard.
        let is_direct = self.own.connector.is_none();
        // First, since its guard judges: to what it refuses not a packet is sent.
        let (dial, connection) = session::dial(self, &url).await;
        let may_connect = is_direct && !session::is_forbidden(&dial);
        report.steps.push(network::url(&url));
        report.steps.push(network::proxy(&url, is_direct));
        let (addresses, step) = network::dns(&url, may_connect).await;
        report.steps.push(step);
        report.steps.push(network::tcp(&addresses).await);
        report.steps.push(dial.step);
        report.steps.extend(dial.introduced);
        if let Some(connection) = connection {
            report.steps.extend(session::visit(connection).await);
        }
        report
    }
}
