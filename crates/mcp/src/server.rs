use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use tower_ws_core::Excerpt;

use crate::era::Era;

/// What a server said of itself when a connection opened. In the extensions of each
/// [`Up`](tower_ws_core::Up).
///
/// Clones share one allocation.
#[derive(Clone, Debug)]
pub struct ServerInfo(Arc<Introduction>);

#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) era: Era,
    pub(crate) version: String,
    pub(crate) implementation: Option<Implementation>,
    pub(crate) capabilities: Capabilities,
    pub(crate) instructions: Option<String>,
    /// The result of `server/discover` or `initialize`.
    pub(crate) raw: Box<RawValue>,
    pub(crate) changed: bool,
    /// The lists that may not be what they were.
    pub(crate) stale: Vec<&'static str>,
}

impl ServerInfo {
    pub(crate) fn new(introduction: Introduction) -> Self {
        Self(Arc::new(introduction))
    }

    /// How it wants to be spoken to.
    pub fn era(&self) -> Era {
        self.0.era
    }

    /// The revision of the protocol that is spoken on this connection.
    pub fn protocol_version(&self) -> &str {
        &self.0.version
    }

    /// Its name and version. `None` if it did not say.
    pub fn implementation(&self) -> Option<&Implementation> {
        self.0.implementation.as_ref()
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// How it is to be used, in its words, for a model to read.
    pub fn instructions(&self) -> Option<&str> {
        self.0.instructions.as_deref()
    }

    /// All that it said, as it came: the result of `server/discover` or `initialize`.
    pub fn raw(&self) -> &RawValue {
        &self.0.raw
    }

    /// True if it is not what it was on the connection before: another era, version or name, or
    /// other capabilities. What was learnt from it (lists of tools, say) is to be asked for anew.
    pub fn has_changed(&self) -> bool {
        self.0.changed
    }

    /// The lists that it may have changed while there was no connection: none on the first, on each
    /// other `tools`, `prompts` and `resources`, those that it has or had.
    pub(crate) fn stale(&self) -> &[&'static str] {
        &self.0.stale
    }
}

/// The name and version of a client or a server.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Implementation {
    /// Its name, for programs.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What else is said of it: `description`, `icons`, `websiteUrl`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Implementation {
    /// A name and a version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            title: None,
            more: Map::new(),
        }
    }
}

impl fmt::Debug for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The peer's words.
        f.debug_struct("Implementation")
            .field("name", &format_args!("{}", Excerpt::new(&self.name)))
            .field("version", &format_args!("{}", Excerpt::new(&self.version)))
            .finish_non_exhaustive()
    }
}

/// What a client or a server can do: a JSON object whose members name what there is. The list is
/// open, so it is kept as it came.
///
/// ```
/// use tower_ws_mcp::Capabilities;
///
/// let capabilities = Capabilities::new().with("roots", serde_json::json!({ "listChanged": true }));
/// assert!(capabilities.has("roots"));
/// ```
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Capabilities(Map<String, Value>);

impl Capabilities {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, with what is to be said about it (an object, often empty).
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, settings: Value) -> Self {
        self.0.insert(name.into(), settings);
        self
    }

    /// True if it is there: `tools`, `resources`, `prompts`, `logging`, `completions`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What is said about one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.keys().map(|key| format!("{}", Excerpt::new(key))))
            .finish()
    }
}
