use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use tower_ws_core::Excerpt;

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
        /// All of them, as they were shown, in PEM. Not serialised.
        #[serde(skip)]
        pem: String,
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

/// Whose it is, by whom, and from when until when: days by UTC.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, issuer) = (Excerpt::new(&self.subject), Excerpt::new(&self.issuer));
        let (from, until) = (Day(self.not_before), Day(self.not_after));
        write!(f, "{subject}, issued by {issuer}, {from} to {until}")
    }
}

/// A day by UTC, as in `2026-11-28`.
pub(super) struct Day(pub(super) SystemTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Years begin in March, so that a leap day is the last; 400 of them have as many days as any other 400.
        let days = seconds / (24 * 60 * 60) + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            0..=9 => (year, month + 3),
            _ => (year + 1, month - 9),
        };
        write!(f, "{:04}-{month:02}-{day:02}", year + 400 * era)
    }
}

fn unix<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn all_millis<S: Serializer>(times: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(|time| time.as_secs_f64() * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_785, "2026-11-28"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (1_100_000, "4981-09-12"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(days * 24 * 60 * 60 + 86_399);
            assert_eq!(Day(time).to_string(), expected, "{days}");
        }
    }
}
