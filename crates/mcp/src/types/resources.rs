use serde::{Deserialize, Serialize};

use serde_json::{Map, Value};

use super::{
    Listed,
    lenient::{or_default, readable},
};

/// Something that a server lets be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Resource {
    /// Its address.
    pub uri: String,
    /// Its name, for programs; empty if the server gives none.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is, for a model.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which format.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// How large it is, in bytes.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What else the server says of it: `_meta`, `icons`, `annotations`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Listed for Resource {
    const METHOD: &'static str = "resources/list";
    const MEMBER: &'static str = "resources";
}

/// A pattern of addresses that a server lets be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceTemplate {
    /// The pattern ([RFC 6570](https://www.rfc-editor.org/rfc/rfc6570)).
    pub uri_template: String,
    /// Its name, for programs; empty if the server gives none.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// What it is, for a model.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which format all of them have.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// What else the server says of it: `_meta`, `icons`, `annotations`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Listed for ResourceTemplate {
    const METHOD: &'static str = "resources/templates/list";
    const MEMBER: &'static str = "resourceTemplates";
}

/// What is in a resource.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceContents {
    /// Its address.
    pub uri: String,
    /// Which format.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// What is in it, if that is text.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What is in it otherwise: base64.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// What else the server says of it: `_meta`, `icons`, `annotations`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The answer to a read.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ReadResourceResult {
    /// What was read: of a folder, say, all that is in it.
    #[serde(deserialize_with = "readable")]
    pub contents: Vec<ResourceContents>,
}
