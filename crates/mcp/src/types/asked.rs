//! What servers ask, and how it is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lenient::or_default;

/// A folder or file that a server may look at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Root {
    /// Its address: `file://…`.
    pub uri: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Root {
    /// One without a name.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            name: None,
        }
    }

    /// One with a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// A question of a server's for a person. `Debug` shows what it asks: it is for people to see.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Elicitation {
    /// What to show.
    pub message: String,
    /// `form`, if it is left out, or `url`: the person is to go to an address.
    #[serde(default, deserialize_with = "or_default")]
    pub mode: Option<String>,
    /// Of a form: the JSON Schema of the content that is wanted, an object with flat properties.
    #[serde(default, deserialize_with = "or_default")]
    pub requested_schema: Option<Value>,
    /// Of an address: where to go.
    #[serde(default, deserialize_with = "or_default")]
    pub url: Option<String>,
    /// What else the server says of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What the person says to an [`Elicitation`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Elicited {
    /// Yes, with this content: by the requested schema, or nothing if there is none.
    Accept {
        /// The content.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Value>,
    },
    /// No.
    Decline,
    /// Neither: the question was put away.
    Cancel,
}
