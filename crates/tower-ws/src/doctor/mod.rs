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
//! | `dns` | all addresses of the name |
//! | `tcp` | whether each of them takes a connection |
//! | `dial` | the whole dial, by the builder's own transport, connector, credentials and layers: proxy, TLS, upgrade, subprotocol, opening. The one step whose failure is what a session would meet |
//! | `ping` | three round trips |
//! | `close` | whether the server says goodbye |
//!
//! It makes one dial, and one TCP connection to each address besides. It takes at most some 10 s for each step that
//! hangs. Dropping the future ends it.
//!
//! # What it does not do
//!
//! It redials nothing, and sends nothing but pings. It looks at a name by the system's resolver and dials its
//! addresses directly: behind a proxy, or with a connector of your own, `dns` and `tcp` may fail where the dial does
//! not, so there they only warn. Of a certificate that is refused it says what the dial says.

mod network;
mod report;
mod session;

use tower_ws_connector::WsUrl;

pub use self::report::{Fault, Report, State, Step};
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
        report.steps.push(network::url(&url));
        // What the system's resolver and a direct connection say need not be what its connector does.
        let is_direct = self.own.connector.is_none();
        report.steps.push(network::proxy(&url, is_direct));
        let (addresses, step) = network::dns(&url, is_direct).await;
        report.steps.push(step);
        report.steps.push(network::tcp(&addresses, is_direct).await);
        session::dial(self, &url, &mut report.steps).await;
        report
    }
}
