//! Times, sizes and numbers as people write them.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserializer, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// A time: `"1500ms"`, `"30s"`, `"1h 30m"`.
pub(crate) mod time {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Text(
            "a time with its unit, such as \"1500ms\", \"30s\" or \"1h 30m\"",
            |text: &str| humantime::parse_duration(text).ok(),
        ))
    }
}

/// A time, or none: `"never"`.
pub(crate) mod maybe_time {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, serializer),
            None => serializer.serialize_str("never"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_any(Text(
            "a time with its unit, such as \"30s\", or \"never\"",
            |text: &str| match text {
                "never" => Some(None),
                text => humantime::parse_duration(text).ok().map(Some),
            },
        ))
    }
}

/// A size: `"64KiB"`, `"8MiB"`, or a number of bytes.
pub(crate) mod size {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let unit = UNITS
            .into_iter()
            .find(|(unit, _)| *bytes >= *unit && bytes.is_multiple_of(*unit));
        match unit {
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", bytes / unit)),
            None => serializer.serialize_u64(*bytes as u64),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(Text(
            "a size, such as \"64KiB\" or \"8MiB\", or a number of bytes",
            |text: &str| text.parse::<ByteSize>().ok()?.as_u64().try_into().ok(),
        ))
    }
}

/// A number; from the environment it comes as text.
pub(crate) mod number {
    use super::*;

    pub(crate) fn deserialize<'de, D, N>(deserializer: D) -> Result<N, D::Error>
    where
        D: Deserializer<'de>,
        N: std::str::FromStr,
    {
        deserializer.deserialize_any(Text("a whole number that is not negative", |text: &str| {
            text.parse().ok()
        }))
    }
}

/// Yes or no; from the environment it comes as text.
pub(crate) mod flag {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(Text("true or false", |text: &str| text.parse().ok()))
    }
}

/// Reads a text, or what is written without quotes as its text.
struct Text<F>(&'static str, F);

impl<'de, T, F: Fn(&str) -> Option<T>> Visitor<'de> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.1)(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
        (self.1)(&flag.to_string()).ok_or_else(|| E::invalid_type(Unexpected::Bool(flag), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::{from_str, json, to_value};

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct All {
        #[serde(with = "time")]
        time: Duration,
        #[serde(with = "maybe_time")]
        never: Option<Duration>,
        #[serde(with = "size")]
        size: usize,
        #[serde(deserialize_with = "number::deserialize")]
        number: u32,
        #[serde(deserialize_with = "flag::deserialize")]
        flag: bool,
    }

    #[test]
    fn as_people_write_them_and_back() {
        let all: All =
            from_str(r#"{"time":"1m 30s","never":"never","size":"64 KiB","number":"7","flag":true}"#).unwrap();
        let expected = All {
            time: Duration::from_secs(90),
            never: None,
            size: 65_536,
            number: 7,
            flag: true,
        };
        assert_eq!(all, expected);
        let written = json!({ "time": "1m 30s", "never": "never", "size": "64KiB", "number": 7, "flag": true });
        assert_eq!(to_value(&all).unwrap(), written);
        let all: All = from_str(r#"{"time":"1500ms","never":"2s","size":1000,"number":7,"flag":"false"}"#).unwrap();
        assert_eq!(
            (all.time, all.never),
            (Duration::from_millis(1500), Some(Duration::from_secs(2)))
        );
        assert_eq!((all.size, all.flag), (1000, false));
    }

    #[test]
    fn what_is_none_says_what_would_be_one() {
        for (text, says) in [
            (r#"{"time":30}"#, "a time with its unit"),
            (r#"{"time":"30 parsecs"}"#, "a time with its unit"),
            (r#"{"time":"1s","never":"2s","size":"big"}"#, "a size, such as"),
            (r#"{"time":"1s","never":"2s","size":-1}"#, "a size, such as"),
        ] {
            let error = from_str::<All>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
