use serde::{Deserialize, Serialize};

use serde_json::{Map, Value};

use super::{
    Content, Listed, Role,
    lenient::{or_default, readable},
};

/// A prompt, or a template of prompts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Prompt {
    /// Its name, by which it is asked for.
    pub name: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it takes.
    #[serde(default, deserialize_with = "readable")]
    pub arguments: Vec<PromptArgument>,
    /// What else the server says of it: `_meta`, `icons`, `annotations`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Listed for Prompt {
    const METHOD: &'static str = "prompts/list";
    const MEMBER: &'static str = "prompts";
}

/// An argument of a prompt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// It must be given.
    #[serde(default, deserialize_with = "or_default")]
    pub required: bool,
    /// What else the server says of it: `_meta`, `icons`, `annotations`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A prompt with its arguments filled in.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct GetPromptResult {
    /// What it is for.
    #[serde(default, deserialize_with = "or_default")]
    pub description: Option<String>,
    /// What is said.
    #[serde(deserialize_with = "readable")]
    pub messages: Vec<PromptMessage>,
}

/// One message of a prompt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

/// What is to be completed.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Reference {
    /// An argument of this prompt.
    #[serde(rename = "ref/prompt")]
    Prompt {
        /// Its name.
        name: String,
    },
    /// A variable of this pattern.
    #[serde(rename = "ref/resource")]
    Resource {
        /// The pattern.
        uri: String,
    },
}

/// What could be meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Completion {
    /// The best guesses, at most 100.
    #[serde(default, deserialize_with = "readable")]
    pub values: Vec<String>,
    /// How many there are in all.
    #[serde(default, deserialize_with = "or_default")]
    pub total: Option<u64>,
    /// There are more.
    #[serde(default, deserialize_with = "or_default")]
    pub has_more: bool,
}
