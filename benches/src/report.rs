//! From samples to medians, ratios and a table.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::load::Load;
use crate::meter::Sample;

/// What all kinds are compared with: the first for messages, the others for calls.
const BASELINES: [&str; 4] = ["tt-batch", "jsonrpsee", "minimal", "limit"];
/// A run is noisy if other processes used more than this share of the machine.
const NOISY: f64 = 0.1;

/// All kinds under one load. Displayed as a table in Markdown.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) load: Load,
    pub(crate) rows: Vec<Row>,
}

/// One kind in one cell. Medians are those of the quiet runs, or of all if none was quiet.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    /// Replies a second.
    pub(crate) rate: f64,
    /// Processor time of the client per reply, in microseconds.
    pub(crate) cpu_us: f64,
    /// The median of those of the runs, in microseconds.
    pub(crate) p50_us: Option<f64>,
    /// How many of the runs were noisy.
    pub(crate) noisy: usize,
    /// One for each baseline that was measured.
    pub(crate) versus: Vec<Versus>,
    /// One for each repetition.
    pub(crate) samples: Vec<Sample>,
}

/// The medians of what each repetition came to, divided by what the baseline came to in the same
/// repetition.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Versus {
    pub(crate) baseline: &'static str,
    pub(crate) rate: f64,
    pub(crate) cpu: f64,
}

// === impl Cell ===

impl Cell {
    pub(crate) fn new(load: Load, kinds: Vec<(&'static str, Vec<Sample>)>) -> Self {
        let rows = kinds.iter().map(|(kind, samples)| Row {
            versus: BASELINES
                .into_iter()
                .filter_map(|baseline| {
                    let (_, others) = kinds.iter().find(|(kind, _)| *kind == baseline)?;
                    Some(Versus::new(baseline, samples, others))
                })
                .collect(),
            ..Row::new(kind, samples.clone())
        });
        Self {
            load,
            rows: rows.collect(),
        }
    }

    /// How `kind` compares with `baseline`, if both were measured.
    pub(crate) fn versus(&self, kind: &str, baseline: &str) -> Option<Versus> {
        self.row(kind)?.versus(baseline)
    }

    pub(crate) fn row(&self, kind: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == kind)
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.load)?;
        write!(f, "| kind | replies/s | CPU us/reply | p50 us | busy | noisy |")?;
        for baseline in BASELINES {
            write!(f, " x {baseline} (CPU) |")?;
        }
        writeln!(f, "\n|---|---:|---:|---:|---:|---:|{}", "---:|".repeat(BASELINES.len()))?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn new(kind: &'static str, samples: Vec<Sample>) -> Self {
        let noisy = samples.iter().filter(|sample| !is_quiet(sample)).count();
        let kept = |sample: &&Sample| noisy == samples.len() || is_quiet(sample);
        Self {
            kind,
            rate: median(samples.iter().filter(kept).map(|sample| sample.rate)),
            cpu_us: median(samples.iter().filter(kept).map(|sample| sample.cpu_us)),
            p50_us: Some(median(samples.iter().filter(kept).filter_map(|sample| sample.p50_us)))
                .filter(|p50| !p50.is_nan()),
            noisy,
            versus: Vec::new(),
            samples,
        }
    }

    fn versus(&self, baseline: &str) -> Option<Versus> {
        self.versus.iter().find(|versus| versus.baseline == baseline).copied()
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Who is idle has no replies.
        if self.rate == 0.0 {
            return write!(f, "| {} | 0 |{}", self.kind, " - |".repeat(4 + BASELINES.len()));
        }
        let busy = self.rate * self.cpu_us / 1e4;
        write!(f, "| {} | {:.0} | {:.2} |", self.kind, self.rate, self.cpu_us)?;
        match self.p50_us {
            Some(p50) => write!(f, " {p50:.1} | {busy:.0} % |")?,
            None => write!(f, " - | {busy:.0} % |")?,
        }
        write!(f, " {}/{} |", self.noisy, self.samples.len())?;
        for baseline in BASELINES {
            match self.versus(baseline) {
                Some(versus) => write!(f, " {:.2} ({:.2}) |", versus.rate, versus.cpu)?,
                None => write!(f, " - |")?,
            }
        }
        Ok(())
    }
}

// === impl Versus ===

impl Versus {
    fn new(baseline: &'static str, samples: &[Sample], others: &[Sample]) -> Self {
        Self {
            baseline,
            rate: median(ratios(samples, others, |sample| sample.rate)),
            cpu: median(ratios(samples, others, |sample| sample.cpu_us)),
        }
    }
}

/// One for each repetition in which both were quiet; for each one if there is none.
pub(crate) fn ratios<'a>(
    samples: &'a [Sample],
    others: &'a [Sample],
    of: impl Fn(&Sample) -> f64 + 'a,
) -> impl Iterator<Item = f64> + 'a {
    let pairs = || samples.iter().zip(others);
    let quiet = |pair: &(&Sample, &Sample)| is_quiet(pair.0) && is_quiet(pair.1);
    let any_quiet = pairs().any(|pair| quiet(&pair));
    pairs()
        .filter(move |pair| !any_quiet || quiet(pair))
        .map(move |(sample, other)| of(sample) / of(other))
}

fn is_quiet(sample: &Sample) -> bool {
    sample.others <= NOISY
}

/// The middle, or the mean of the two middle ones; not a number if there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(values.len().saturating_sub(half + 1)), values.get(half)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_leave_out_noisy_runs() {
        let samples = |all: &[(f64, f64)]| -> Vec<Sample> {
            all.iter()
                .map(|&(rate, others)| Sample {
                    rate,
                    cpu_us: 1.0,
                    p50_us: None,
                    wake_ups: 0.0,
                    others,
                })
                .collect()
        };
        let cell = Cell::new(
            Load::new(64, 1),
            vec![
                ("a", samples(&[(10.0, 0.0), (20.0, 0.0), (999.0, 0.5)])),
                ("tt-batch", samples(&[(5.0, 0.0), (999.0, 0.5), (5.0, 0.0)])),
                ("c", samples(&[(1.0, 0.5), (3.0, 0.5), (2.0, 0.5)])),
            ],
        );
        assert_eq!((cell.rows[0].rate, cell.rows[0].noisy), (15.0, 1));
        assert_eq!((cell.rows[2].rate, cell.rows[2].noisy), (2.0, 3));
        assert_eq!(cell.versus("a", "tt-batch").unwrap().rate, 2.0);
        assert!(cell.versus("a", "jsonrpsee").is_none());
    }
}
