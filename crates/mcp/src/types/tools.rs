use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{
    Content, Listed,
    lenient::{or_default, readable},
};

/// A tool that a server offers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Tool {
    /// Its name, by which it is called.
    pub name: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for a model.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON Schema of its arguments, raw. A server that gives none says that anything goes: `{}`.
    #[serde(default = "anything", deserialize_with = "schema")]
    pub input_schema: Box<RawValue>,
    /// The JSON Schema of its structured result, raw.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Box<RawValue>>,
    /// What the server claims about its effects.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: ToolAnnotations,
    /// Pictures for it, raw.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub icons: Option<Box<RawValue>>,
    /// What else the server says of it, raw.
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "_meta",
        skip_serializing_if = "Option::is_none"
    )]
    pub meta: Option<Box<RawValue>>,
}

fn anything() -> Box<RawValue> {
    to_raw_value(&Map::new()).expect("an empty object is JSON")
}

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    let schema = Box::<RawValue>::deserialize(deserializer)?;
    Ok(if schema.get() == "null" { anything() } else { schema })
}

impl Listed for Tool {
    const METHOD: &'static str = "tools/list";
    const MEMBER: &'static str = "tools";
}

/// What a server claims about a tool's effects. Hints: a server can lie, so nothing is concluded
/// from them unless the application [trusts them](crate::Mcp::trust_annotations).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolAnnotations {
    /// The tool's name, for people, where an older revision has it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// It changes nothing. Taken for false if it is missing.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy something. Taken for true if it is missing.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Calling it twice with the same arguments is as good as once. Taken for false if it is
    /// missing.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It reaches beyond the server. Taken for true if it is missing.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
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
    #[serde(default, deserialize_with = "readable")]
    pub content: Vec<Content>,
    /// For a program, by the tool's output schema.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// The tool was called and failed; what is in `content` says how.
    #[serde(default, deserialize_with = "or_default")]
    pub is_error: bool,
    /// What else the server says of it: `_meta`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl CallToolResult {
    /// The text of all its content, in order.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::as_text).collect()
    }
}
