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
//! | `proxy` | which one is used; whether the environment names one for this address, and it is not |
//! | `guard` | whether this side lets it be dialled, and what it would show be shown |
//! | `credentials` | only if there are none to be had |
//! | `dns` | all addresses of the name that the guard lets pass; a proxy's, if one is used |
//! | `tcp` | whether each of them takes a connection |
//! | `tunnel` | whether the proxy lets the address pass, if one is used |
//! | `tls` | version and cipher; whose certificates, by whom, for how long; all that is wrong with them |
//! | `upgrade` | the server's answer; of a refusal the headers that help, and whether the clocks differ |
//! | `opening` | only if the dialogue failed that opens each connection: MCP's, a login |
//! | `mcp` | the revision that is spoken, the server, what it offers: where the dial opens MCP, as with `McpBuilder::examine` |
//! | `ping` | three round trips, 100 ms apart, and whether the server closes meanwhile |
//! | `hold` | with [`hold`](Examination::hold): whether the connection is up after so long a silence |
//! | `close` | whether the server says goodbye |
//!
//! From `guard` to `mcp` they are those of one dial, by the builder's own transport, connector, credentials and layers:
//! what fails there is what a session would meet. A connector of your own that tells nothing of its steps
//! ([`Stage`](tower_ws_connector::Stage)) has `connect` in the place of `dns`, `tcp` and `tls`, if it fails.
//!
//! It makes one dial, and a TCP connection to each other address of the name, up to eight. The dial takes at most as
//! long as the transport and what opens the connection let it; each other step at most some 10 s, besides the silence
//! of `hold`. Dropping the future ends it.
//!
//! # What it does not do
//!
//! An MCP server's name and version are told as it says them, escaped and cut. It redials nothing, and sends nothing
//! but pings. It goes past no guard: what the dial is not allowed, it does not do either. It does not ask whether a
//! certificate has been revoked.

mod cause;
mod clock;
mod details;
#[cfg(feature = "mcp")]
mod mcp;
mod network;
mod report;
#[cfg(feature = "tls")]
mod tls;
mod visit;
mod way;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use tower_ws_connector::WsUrl;

pub use self::{
    cause::Cause,
    details::{Certificate, Details},
    report::{Fault, Report, State, Step},
};
use crate::builder::Builder;

/// How long whatever has no limit of its own may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A look at the way to a server that has not begun: awaited, it gives the [`Report`].
#[must_use = "it looks at nothing until it is awaited"]
pub struct Examination {
    builder: Builder,
    silence: Option<Duration>,
}

impl Builder {
    /// Looks at the way to the server step by step, instead of connecting. See [`doctor`](crate::doctor).
    ///
    /// [Fallbacks](Self::fallback) are not looked at.
    pub fn examine(self) -> Examination {
        Examination {
            builder: self,
            silence: None,
        }
    }
}

impl Examination {
    /// Is silent for so long before it says goodbye, to find out whether somebody on the way ends connections on which
    /// nothing is said: many load balancers do after 60 s. Default: not at all.
    pub fn hold(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    async fn run(self) -> Report {
        let Self { builder, silence } = self;
        let mut report = Report {
            schema: 1,
            server: String::new(),
            steps: Vec::new(),
        };
        let url = match WsUrl::parse(&builder.url) {
            Ok(url) => url,
            Err(error) => {
                report.steps.push(network::no_url(&error));
                return report;
            }
        };
        report.server = url.redacted().to_string();
        report.steps.push(network::url(&url));
        let is_own = builder.own.connector.is_some();
        let (way, connection) = way::dial(builder, &url).await;
        let decides = is_own && !way.has_begun();
        report
            .steps
            .push(network::proxy(&url, way.elsewhere(&url), way.is_proxied(), decides));
        report.steps.extend(way.steps(&url).await);
        if let Some(connection) = connection {
            report.steps.extend(visit::visit(connection, silence).await);
        }
        report
    }
}

impl IntoFuture for Examination {
    type Output = Report;
    type IntoFuture = Pin<Box<dyn Future<Output = Report> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examination")
            .field("builder", &self.builder)
            .field("silence", &self.silence)
            .finish()
    }
}
