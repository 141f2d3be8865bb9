use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{Content, Listed};

/// A tool that a server offers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Tool {
    /// Its name, by which it is called.
    pub name: String,
    /// Its name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON Schema of its arguments, raw.
    pub input_schema: Box<RawValue>,
    /// The JSON Schema of its structured result, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Box<RawValue>>,
    /// What the server claims about its effects.
    #[serde(default)]
    pub annotations: ToolAnnotations,
}

impl Listed for Tool {
    const METHOD: &'static str = "tools/list";
    const MEMBER: &'static str = "tools";
}

/// What a server claims about a tool's effects. Hints: a server can lie, so nothing is concluded
/// from them unless the application [trusts them](crate::Mcp::trust_annotations).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolAnnotations {
    /// It changes nothing. Taken for false if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy something. Taken for true if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Calling it twice with the same arguments is as good as once. Taken for false if it is
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It reaches beyond the server. Taken for true if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

impl ToolAnnotations {
    /// True if, by these hints, seeing a call twice does no harm.
    pub fn may_be_repeated(&self) -> bool {
        self.read_only_hint == Some(true) || self.idempotent_hint == Some(true)
    }
}

/// What a tool gave back.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CallToolResult {
    /// For a model or a person.
    #[serde(default)]
    pub content: Vec<Content>,
    /// For a program, by the tool's output schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// The tool was called and failed; what is in `content` says how.
    #[serde(default)]
    pub is_error: bool,
}

impl CallToolResult {
    /// The text of all its content, in order.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::as_text).collect()
    }
}
