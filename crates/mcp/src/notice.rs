use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_client::Notification;
use tower_ws_core::jsonrpc::Malformed;

/// What a server tells, by type: the common notifications of both eras.
///
/// ```no_run
/// # async fn run(mut inbound: tower_ws_client::Inbound) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_ws_client::Incoming;
/// use tower_ws_mcp::Notice;
///
/// while let Some(item) = inbound.next().await {
///     let Incoming::Notification(told) = item else { continue };
///     match Notice::of(&told)? {
///         Notice::ToolsChanged => println!("ask for the tools again"),
///         Notice::Log(message) => println!("{}: {}", message.level, message.data),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The list of tools may have changed. It comes also after each reconnect, as the next two do:
    /// what was told in the outage nobody heard.
    ToolsChanged,
    /// The list of prompts may have changed.
    PromptsChanged,
    /// The list of resources may have changed.
    ResourcesChanged,
    /// A resource has changed that was subscribed to.
    ResourceUpdated {
        /// Its address.
        uri: String,
    },
    /// The server logs something.
    Log(LogMessage),
    /// Another one: its method says which.
    Other,
}

/// What a server logs. Its `Debug` does not show what it says.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct LogMessage {
    /// From `debug` to `emergency`, as in [RFC 5424](https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1).
    pub level: String,
    /// Which part of the server says it.
    #[serde(default)]
    pub logger: Option<String>,
    /// What it says: a string, or anything else in JSON.
    pub data: Box<RawValue>,
}

impl Notice {
    /// Reads a notification.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is one of these, and its parameters are not as they should be.
    pub fn of(told: &Notification) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        Ok(match told.method() {
            "notifications/tools/list_changed" => Self::ToolsChanged,
            "notifications/prompts/list_changed" => Self::PromptsChanged,
            "notifications/resources/list_changed" => Self::ResourcesChanged,
            "notifications/resources/updated" => Self::ResourceUpdated {
                uri: told.params::<Updated>()?.uri,
            },
            "notifications/message" => Self::Log(told.params()?),
            _ => Self::Other,
        })
    }
}

impl fmt::Debug for LogMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogMessage")
            .field("level", &self.level)
            .field("bytes", &self.data.get().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(text: &'static str) -> Result<Notice, Malformed> {
        Notice::of(&Notification::parse(Bytes::from_static(text.as_bytes())).unwrap())
    }

    #[test]
    fn the_common_ones_are_read() {
        let tools = of(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
        assert!(matches!(tools, Ok(Notice::ToolsChanged)));
        let updated = of(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"mem://x"}}"#);
        assert!(matches!(updated, Ok(Notice::ResourceUpdated { uri }) if uri == "mem://x"));
        let log = of(
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"a":1},"logger":null}}"#,
        );
        let Ok(Notice::Log(message)) = log else {
            panic!("{log:?}")
        };
        assert_eq!((&*message.level, message.data.get()), ("info", r#"{"a":1}"#));
        assert!(!format!("{message:?}").contains(r#"{"a":1}"#));
        assert!(matches!(of(r#"{"jsonrpc":"2.0","method":"x"}"#), Ok(Notice::Other)));
        of(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated"}"#).unwrap_err();
    }
}
