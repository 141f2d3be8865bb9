use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

/// What a step has found, for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Details {
    /// Of `dns`: what the name stands for, but for what the guard refuses.
    #[non_exhaustive]
    Names {
        /// In the order in which they are tried.
        addresses: Vec<IpAddr>,
    },
    /// Of `tls`: what was agreed on, unless it failed, and what the server has shown.
    #[non_exhaustive]
    Tls {
        /// `1.2` or `1.3`.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'static str>,
        /// The cipher suite, as rustls calls it.
        #[serde(skip_serializing_if = "Option::is_none")]
        cipher: Option<String>,
        /// The server's own first.
        certificates: Vec<Certificate>,
    },
    /// Of `upgrade`, when the server refused: the headers that say who, why, and what to do, without what was sent.
    #[non_exhaustive]
    Refusal {
        /// By name.
        headers: BTreeMap<String, String>,
    },
    /// Of `ping`.
    #[non_exhaustive]
    Trips {
        /// How long each took.
        #[serde(rename = "trips_ms", serialize_with = "all_millis")]
        trips: Vec<Duration>,
    },
}

/// What is written in a certificate.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who has signed it.
    pub issuer: String,
    /// Whether the issuer's name is that of a public authority, by Mozilla's list.
    pub is_publicly_issued: bool,
    /// Not valid before: seconds since 1970.
    #[serde(serialize_with = "unix")]
    pub not_before: SystemTime,
    /// Not valid after.
    #[serde(serialize_with = "unix")]
    pub not_after: SystemTime,
    /// For whom it is.
    pub names: Vec<String>,
    /// Of its key, as [`Pin`](tower_ws_connector::tls::Pin) reads it.
    pub pin: String,
}

fn unix<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn all_millis<S: Serializer>(times: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(|time| time.as_secs_f64() * 1000.0))
}
