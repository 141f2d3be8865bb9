//! What the common methods take and give. Small on purpose: what is not here is reached by name,
//! and raw JSON stays raw until somebody asks for it.

mod prompts;
mod resources;
mod tools;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    prompts::{Completion, GetPromptResult, Prompt, PromptArgument, PromptMessage, Reference},
    resources::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
    tools::{CallToolResult, Tool, ToolAnnotations},
};

/// A piece of content, for a model or a person.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    #[serde(rename_all = "camelCase")]
    Image {
        /// Base64.
        data: String,
        /// Which format.
        mime_type: String,
    },
    /// Sound.
    #[serde(rename_all = "camelCase")]
    Audio {
        /// Base64.
        data: String,
        /// Which format.
        mime_type: String,
    },
    /// A resource that can be read.
    ResourceLink(Resource),
    /// A resource, with what is in it.
    Resource {
        /// What is in it.
        resource: ResourceContents,
    },
    /// A kind of a later revision.
    #[serde(untagged)]
    Other(Map<String, Value>),
}

impl Content {
    /// The text, if that is what it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            _ => None,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; `None` if this is the last.
    pub next_cursor: Option<String>,
}

/// Something that a server lists by pages.
pub trait Listed: Sized {
    /// The method that lists it.
    const METHOD: &'static str;

    /// The member of the result that holds it.
    const MEMBER: &'static str;
}

/// Who speaks in a prompt. This list is complete.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_content_is_read_and_written_as_it_was() {
        for content in [
            json!({ "type": "text", "text": "hello" }),
            json!({ "type": "image", "data": "AA==", "mimeType": "image/png" }),
            json!({ "type": "audio", "data": "AA==", "mimeType": "audio/wav" }),
            json!({ "type": "resource_link", "uri": "mem://x", "name": "x" }),
            json!({ "type": "resource", "resource": { "uri": "mem://x", "text": "t" } }),
            json!({ "type": "hologram", "depth": 3 }),
        ] {
            let read: Content = serde_json::from_value(content.clone()).unwrap();
            assert_eq!(
                matches!(read, Content::Other(_)),
                content["type"] == "hologram",
                "{content}"
            );
            assert_eq!(serde_json::to_value(&read).unwrap(), content);
        }
    }
}
