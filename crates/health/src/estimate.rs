//! Round trips, as numbers.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::snapshot::{Quality, Rtt};

/// The longest round trip that is told from longer ones: an hour. It bounds the histogram, to some
/// 13 KiB.
const LONGEST: Duration = Duration::from_secs(3600);

/// What counts as good and as fair: smoothed round trip, jitter, lost of the last 16.
const GOOD: (Duration, Duration, u32) = (Duration::from_millis(150), Duration::from_millis(30), 0);
const FAIR: (Duration, Duration, u32) = (Duration::from_millis(400), Duration::from_millis(100), 2);

/// The estimates of one session.
#[derive(Debug)]
pub(crate) struct Estimate {
    /// Last, smoothed and jitter, of this connection or the last that had an answer.
    present: Option<(Duration, Duration, Duration)>,
    /// No answer has come on this connection.
    fresh: bool,
    range: (Duration, Duration),
    /// In microseconds. Made for the first answer, and grown as needed.
    histogram: Option<Histogram<u32>>,
    /// The last 16 probes of this connection, the latest in the lowest bit; 1 is lost.
    recent: u16,
    /// How many of them there were.
    ended: u32,
}

impl Estimate {
    pub(crate) fn new() -> Self {
        Self {
            present: None,
            fresh: true,
            range: (Duration::MAX, Duration::ZERO),
            histogram: None,
            recent: 0,
            ended: 0,
        }
    }

    /// Another connection may have another path.
    pub(crate) fn begin(&mut self) {
        self.fresh = true;
        self.recent = 0;
        self.ended = 0;
    }

    pub(crate) fn answered(&mut self, rtt: Duration) {
        self.present = Some(match self.present {
            Some((last, smoothed, jitter)) if !self.fresh => {
                let change = last.abs_diff(rtt);
                (rtt, smoothed * 7 / 8 + rtt / 8, jitter * 15 / 16 + change / 16)
            }
            _ => (rtt, rtt, Duration::ZERO),
        });
        self.fresh = false;
        self.range = (self.range.0.min(rtt), self.range.1.max(rtt));
        self.ended(false);
        let micros = rtt.min(LONGEST).as_micros() as u64;
        let histogram = self
            .histogram
            .get_or_insert_with(|| Histogram::new(2).expect("two digits are within its limit of five"));
        // It grows by itself; and a round trip that it does not take is one percentile the less.
        let _ = histogram.record(micros);
    }

    pub(crate) fn lost(&mut self) {
        self.ended(true);
    }

    fn ended(&mut self, lost: bool) {
        self.recent = self.recent << 1 | u16::from(lost);
        self.ended += 1;
    }

    pub(crate) fn rtt(&self) -> Option<Rtt> {
        let ((last, smoothed, jitter), histogram) = (self.present?, self.histogram.as_ref()?);
        // Its buckets are rounded up.
        let quantile = |q| Duration::from_micros(histogram.value_at_quantile(q)).min(self.range.1);
        Some(Rtt {
            last,
            smoothed,
            jitter,
            min: self.range.0,
            max: self.range.1,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        })
    }

    pub(crate) fn quality(&self) -> Quality {
        if self.ended == 0 {
            return Quality::Unknown;
        }
        let (_, smoothed, jitter) = self.present.filter(|_| !self.fresh).unwrap_or_default();
        let lost = self.recent.count_ones();
        let within = |(rtt, unsteady, losing)| smoothed <= rtt && jitter <= unsteady && lost <= losing;
        match (within(GOOD), within(FAIR)) {
            (true, _) => Quality::Good,
            (_, true) => Quality::Fair,
            _ => Quality::Poor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_estimates_of_the_rfcs() {
        let mut estimate = Estimate::new();
        estimate.answered(ms(80));
        estimate.answered(ms(160));
        let rtt = estimate.rtt().unwrap();
        assert_eq!((rtt.last, rtt.smoothed, rtt.jitter), (ms(160), ms(90), ms(5)));
        assert_eq!((rtt.min, rtt.max), (ms(80), ms(160)));
        estimate.begin();
        estimate.answered(ms(40));
        let rtt = estimate.rtt().unwrap();
        assert_eq!((rtt.smoothed, rtt.jitter), (ms(40), ms(0)));
        assert_eq!((rtt.min, rtt.max), (ms(40), ms(160)));
    }

    #[test]
    fn percentiles_to_two_digits() {
        let mut estimate = Estimate::new();
        (1..=100).for_each(|n| estimate.answered(ms(n)));
        let rtt = estimate.rtt().unwrap();
        for (saw, expected) in [(rtt.p50, ms(50)), (rtt.p90, ms(90)), (rtt.p99, ms(99))] {
            assert!(
                saw.abs_diff(expected) < expected / 50,
                "{saw:?} instead of {expected:?}"
            );
        }
    }

    #[test]
    fn the_longest_round_trip_is_counted_too() {
        let mut estimate = Estimate::new();
        estimate.answered(Duration::MAX / 16);
        let p99 = estimate.rtt().unwrap().p99;
        assert!(p99.abs_diff(LONGEST) < LONGEST / 50, "{p99:?}");
    }

    #[test]
    fn quality_is_the_worst_of_three() {
        let grade = |rtts: &[u64], lost: usize| {
            let mut estimate = Estimate::new();
            rtts.iter().for_each(|rtt| estimate.answered(ms(*rtt)));
            (0..lost).for_each(|_| estimate.lost());
            estimate.quality()
        };
        assert_eq!(grade(&[], 0), Quality::Unknown);
        assert_eq!(grade(&[150, 150], 0), Quality::Good);
        assert_eq!(grade(&[151], 0), Quality::Fair);
        assert_eq!(grade(&[20], 2), Quality::Fair);
        assert_eq!(grade(&[20], 3), Quality::Poor);
        assert_eq!(grade(&[], 3), Quality::Poor);
        assert_eq!(grade(&[401], 0), Quality::Poor);
        assert_eq!(grade(&[0, 144, 0, 144, 0, 144], 0), Quality::Fair, "unsteady");
        let mut recovered = Estimate::new();
        recovered.lost();
        (0..16).for_each(|_| recovered.answered(ms(1)));
        assert_eq!(recovered.quality(), Quality::Good);
    }
}
