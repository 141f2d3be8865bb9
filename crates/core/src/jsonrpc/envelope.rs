//! The members of a JSON-RPC object, whatever their order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What stands at the top of an object, raw. Members of other names are passed over.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) jsonrpc: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) method: Option<&'a RawValue>,
    pub(super) params: Option<&'a RawValue>,
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
    /// There is a second `id`: which one is meant, nobody knows.
    pub(super) two_ids: bool,
    /// Another of these is there twice.
    pub(super) doubled: bool,
}

impl Envelope<'_> {
    pub(super) fn is_version_2(&self) -> bool {
        self.jsonrpc.is_some_and(|version| version.get() == "\"2.0\"")
    }

    /// An error that is no more than `null` is none.
    pub(super) fn has_error(&self) -> bool {
        self.error.is_some_and(|error| error.get() != "null")
    }

    /// The id, if it can be one of ours: a whole number, or a string of its digits and nothing else,
    /// as gateways exist that make strings of ids.
    pub(super) fn own_id(&self) -> Option<u64> {
        let id = self.id?.get();
        let digits = match id.strip_prefix('"') {
            Some(id) => id.strip_suffix('"')?,
            None => id.strip_suffix(".0").unwrap_or(id),
        };
        let canonical = digits == "0" || digits.starts_with(|first: char| ('1'..='9').contains(&first));
        canonical.then(|| digits.parse().ok()).flatten()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(Name(name)) = members.next_key()? {
                    let member = match &*name {
                        "jsonrpc" => &mut envelope.jsonrpc,
                        "id" => &mut envelope.id,
                        "method" => &mut envelope.method,
                        "params" => &mut envelope.params,
                        "result" => &mut envelope.result,
                        "error" => &mut envelope.error,
                        _ => {
                            members.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if member.replace(members.next_value()?).is_some() {
                        match &*name {
                            "id" => envelope.two_ids = true,
                            _ => envelope.doubled = true,
                        }
                    }
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names at the top of an object, quoted and cut, and nothing else of it.
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As many as anybody would read, and one more to tell that there are.
        const MOST: usize = 9;
        const LONGEST: usize = 32;

        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((Name(name), IgnoredAny)) = members.next_entry()? {
                    if names.len() < MOST {
                        let cut: String = name.chars().take(LONGEST).collect();
                        names.push(format!("{cut:?}"));
                    }
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
