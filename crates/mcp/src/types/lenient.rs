//! Reading what servers send, not what they should: an optional field that is null or of another
//! type is absent, and of a list what cannot be read is left out.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor},
};
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

/// A type that can be made of any object.
pub(super) trait OfMembers: Sized {
    fn read<'de, A: MapAccess<'de>>(members: A) -> Result<Self, A::Error>;
}

/// The objects of a list, read in one pass; what is none is left out, and what is no list is empty.
pub(super) struct Objects<T>(pub(super) Vec<T>);

impl<'de, T: OfMembers> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::List(list) => list,
            Any::Object(_) | Any::Other => Vec::new(),
        }))
    }
}

enum Any<T> {
    List(Vec<T>),
    Object(T),
    Other,
}

impl<'de, T: OfMembers> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData))
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: OfMembers> Visitor<'de> for AnyVisitor<T> {
    type Value = Any<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Any<T>, A::Error> {
        T::read(members).map(Any::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if let Any::Object(item) = item {
                list.push(item);
            }
        }
        Ok(Any::List(list))
    }

    fn visit_unit<E: Error>(self) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Any<T>, E> {
        Ok(Any::Other)
    }
}
