use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{
    Content, Listed,
    lenient::{Objects, or_default},
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
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CallToolResult {
    /// For a model or a person.
    pub content: Vec<Content>,
    /// For a program, by the tool's output schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// The tool was called and failed; what is in `content` says how.
    pub is_error: bool,
    /// What else the server says of it: `_meta`. Not that it is complete (`resultType`): it is.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl CallToolResult {
    /// The text of all its content, in order.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::as_text).collect()
    }
}

/// In one pass, and without memory for what a modern server says in each answer.
impl<'de> Deserialize<'de> for CallToolResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Member {
    Content,
    StructuredContent,
    IsError,
    ResultType,
    Other(String),
}

impl<'de> Visitor<'de> for Members {
    type Value = CallToolResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result of a tool")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<CallToolResult, A::Error> {
        let mut result = CallToolResult {
            content: Vec::new(),
            structured_content: None,
            is_error: false,
            more: Map::new(),
        };
        while let Some(member) = members.next_key()? {
            match member {
                Member::Content => Objects(result.content) = members.next_value()?,
                Member::StructuredContent => result.structured_content = members.next_value()?,
                Member::IsError => result.is_error = members.next_value::<Value>()? == true,
                Member::ResultType => drop(members.next_value::<IgnoredAny>()?),
                Member::Other(name) => drop(result.more.insert(name, members.next_value()?)),
            }
        }
        Ok(result)
    }
}
