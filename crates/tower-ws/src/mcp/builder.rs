use std::time::Duration;

#[cfg(feature = "auth")]
use tower_ws_auth::Credentials;
use tower_ws_client::{ClientLayer, Inbound, Lag};
use tower_ws_core::DispositionTable;
use tower_ws_mcp::{Answers, Capabilities, Era, Implementation, Mcp, McpLayer, ack_layer, client_layer, relay};
use tower_ws_transport::{JsonText, Subprotocols, TransportLayer};

use crate::{builder::Builder, doctor::Examination, error::ConnectError};

/// The recommended stack with [`McpLayer`] in it, to be changed before it connects. `client` is what
/// the server is told of this side.
///
/// ```no_run
/// # async fn run(token: tower_ws::auth::Credentials) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_ws::mcp::{self, Answers, Implementation, Root};
///
/// let me = Implementation::new("my-host", "1.0.0");
/// let (mcp, inbound) = mcp::builder("wss://example.com/mcp", me)
///     .bearer(token)
///     .answers(Answers::new().roots(|| async { vec![Root::new("file:///project")] }))
///     // All that the builder of the stack has.
///     .stack(|stack| stack.name("tools").call_timeout(Duration::from_secs(150)))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
///
/// Failures are judged by [`DispositionTable::mcp`], wherever one is judged;
/// [`Builder::dispositions`] sets another.
///
/// The subprotocol `mcp` is offered, and nothing is insisted on: there are servers that answer
/// another, or none.
pub fn builder(url: impl AsRef<str>, client: Implementation) -> McpBuilder {
    let transport = TransportLayer::new()
        .subprotocols(["mcp"])
        .subprotocol_mode(Subprotocols::Lenient);
    let stack = crate::builder(url)
        .client(client_layer(JsonText))
        .ack(ack_layer(JsonText))
        .dispositions(DispositionTable::mcp())
        .transport(transport);
    McpBuilder {
        stack,
        client,
        opening: Opening::default(),
        capabilities: Capabilities::new(),
        answers: Answers::new(),
    }
}

/// A session with an MCP server, before it connects. See [`builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct McpBuilder {
    stack: Builder,
    client: Implementation,
    opening: Opening,
    capabilities: Capabilities,
    answers: Answers,
}

/// How each connection is opened.
#[derive(Clone, Debug, Default)]
struct Opening {
    only: Option<Era>,
    preferred: Option<String>,
    timeout: Option<Duration>,
}

impl Opening {
    fn set(self, mut layer: McpLayer<JsonText>) -> McpLayer<JsonText> {
        if let Some(era) = self.only {
            layer = layer.only(era);
        }
        if let Some(version) = self.preferred {
            layer = layer.prefer(version);
        }
        if let Some(timeout) = self.timeout {
            layer = layer.timeout(timeout);
        }
        layer
    }
}

impl McpBuilder {
    /// Declares what this side can do. Default: what the [answers](Self::answers) answer, which is
    /// replaced by this.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Answers what the server asks, of either era, and declares that it is answered.
    pub fn answers(mut self, answers: Answers) -> Self {
        self.capabilities = answers.capabilities();
        self.answers = answers;
        self
    }

    /// Speaks this era only ([`McpLayer::only`]). Default: whatever the server speaks, the modern one
    /// first.
    pub fn only(mut self, era: Era) -> Self {
        self.opening.only = Some(era);
        self
    }

    /// Offers this revision to a legacy server first ([`McpLayer::prefer`]). Default: the newest.
    pub fn prefer(mut self, version: impl Into<String>) -> Self {
        self.opening.preferred = Some(version.into());
        self
    }

    /// Sets how long the opening of a connection may take ([`McpLayer::timeout`]). Default
    /// [10 s](McpLayer::TIMEOUT).
    pub fn opening_timeout(mut self, timeout: Duration) -> Self {
        self.opening.timeout = Some(timeout);
        self
    }

    /// Shows a token in each handshake: `Authorization: Bearer …` ([`Builder::bearer`]).
    #[cfg(feature = "auth")]
    pub fn bearer(self, credentials: Credentials) -> Self {
        self.stack(|stack| stack.bearer(credentials))
    }

    /// Changes the stack: all that its [builder](Builder) has.
    pub fn stack(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.stack = change(self.stack);
        self
    }

    #[cfg(feature = "config")]
    pub(crate) fn try_stack<E>(mut self, change: impl FnOnce(Builder) -> Result<Builder, E>) -> Result<Self, E> {
        self.stack = change(self.stack)?;
        Ok(self)
    }

    /// Connects to a server of either era. Resolves when calls can be made; see
    /// [`connect`](crate::connect).
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<(Mcp, Inbound), ConnectError> {
        let (layer, session) = McpLayer::pair(JsonText, self.client, self.capabilities);
        let stack = self.stack.outermost(self.opening.set(layer));
        let (client, inbound) = stack.connect().await?;
        let mcp = Mcp::new(client, session).answering(self.answers.clone());
        Ok((mcp, inbound.answer_with(self.answers)))
    }

    /// Looks at the way to the server step by step, instead of connecting, up to what it says of
    /// itself. See [`doctor`](crate::doctor).
    pub fn examine(self) -> Examination {
        let (layer, _session) = McpLayer::pair(JsonText, self.client, self.capabilities);
        self.stack.outermost(self.opening.set(layer)).examine()
    }

    /// A relay, for a library with a protocol machine of its own. What the server is told of the
    /// client, its capabilities and the revision are the library's; so are the answers.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn relay(self) -> relay::Relay {
        // A library is told all that the server says: what it does not read waits at the server.
        let stack = self.stack.inbound(ClientLayer::INBOUND, Lag::Wait);
        let opening = self.opening;
        relay::Relay::new(JsonText, |layer| async move {
            Ok(stack.outermost(opening.set(layer)).connect().await?)
        })
    }

    /// A transport for `rmcp`, the official SDK: a [relay](Self::relay).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "rmcp")]
    pub fn rmcp(self) -> tower_ws_mcp::rmcp::RmcpTransport {
        tower_ws_mcp::rmcp::RmcpTransport::new(self.relay())
    }
}
