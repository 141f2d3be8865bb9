//! Reading what servers send, not what they should: an optional field that is null or of another
//! type is absent, and of a list what cannot be read is left out.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// A field that may be anything: what it is not, is the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A list of which some may be anything: those are left out.
pub(super) fn readable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let list = Box::<RawValue>::deserialize(deserializer)?;
    let items: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    let read = items
        .into_iter()
        .filter_map(|item| serde_json::from_str(item.get()).ok());
    Ok(read.collect())
}
