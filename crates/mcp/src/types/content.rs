use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    lenient::OfMembers,
    resources::{Resource, ResourceContents},
};

/// A piece of content, for a model or a person.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// What else is said of it: `annotations`, `_meta`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// A picture.
    #[serde(rename_all = "camelCase")]
    Image {
        /// Base64.
        data: String,
        /// Which format.
        mime_type: String,
        /// What else is said of it: `annotations`, `_meta`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// Sound.
    #[serde(rename_all = "camelCase")]
    Audio {
        /// Base64.
        data: String,
        /// Which format.
        mime_type: String,
        /// What else is said of it: `annotations`, `_meta`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// A resource that can be read.
    ResourceLink(Resource),
    /// A resource, with what is in it.
    Resource {
        /// What is in it.
        resource: ResourceContents,
        /// What else is said of it: `annotations`, `_meta`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// A kind of a later revision.
    #[serde(untagged)]
    Other(Map<String, Value>),
}

impl Content {
    /// The text, if that is what it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Nearly all content is text, which is read in one pass; all other kinds by way of a [`Value`].
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Type,
    Text,
    Other(String),
}

impl<'de> Visitor<'de> for Members {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Content, A::Error> {
        Content::read(members)
    }
}

impl OfMembers for Content {
    fn read<'de, A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let (mut kind, mut text, mut more) = (None::<Value>, None::<Value>, Map::new());
        while let Some(member) = members.next_key()? {
            match member {
                Member::Type => kind = Some(members.next_value()?),
                Member::Text => text = Some(members.next_value()?),
                Member::Other(name) => drop(more.insert(name, members.next_value()?)),
            }
        }
        let (kind, text) = match (kind, text) {
            (Some(Value::String(kind)), Some(Value::String(text))) if kind == "text" => {
                return Ok(Content::Text { text, more });
            }
            other => other,
        };
        more.extend(kind.map(|kind| ("type".to_owned(), kind)));
        more.extend(text.map(|text| ("text".to_owned(), text)));
        Content::deserialize(Value::Object(more)).map_err(serde::de::Error::custom)
    }
}
