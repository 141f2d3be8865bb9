//! This machine's clock beside the server's. No I/O.

use std::time::{Duration, SystemTime};

/// How much clocks may differ before somebody should look: what most who check tokens let pass.
const MUCH: Duration = Duration::from_secs(5 * 60);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How far off this machine's clock is by a `date` of the server's, if that is much.
pub(super) fn skew(date: &str, now: SystemTime) -> Option<String> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let (far, way) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = far.as_secs();
    let far = match seconds {
        _ if far <= MUCH => return None,
        ..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    };
    Some(format!("this machine's clock is {far} {way} the server's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_much() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let theirs = httpdate::parse_http_date(date).unwrap();
        let ahead = |seconds| skew(date, theirs + Duration::from_secs(seconds));
        assert_eq!((ahead(0), ahead(300)), (None, None));
        assert_eq!(
            ahead(301).as_deref(),
            Some("this machine's clock is 5 min ahead of the server's")
        );
        assert_eq!(
            skew(date, theirs - Duration::from_secs(3 * HOUR)).as_deref(),
            Some("this machine's clock is 3 h behind the server's")
        );
        assert_eq!(
            ahead(2500 * DAY).as_deref(),
            Some("this machine's clock is 2500 days ahead of the server's")
        );
        assert_eq!(skew("yesterday", theirs), None);
    }
}
