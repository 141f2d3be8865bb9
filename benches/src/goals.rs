//! What tower-ws wants to reach, each as a ratio inside one run, and how far it is.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::BoxError;
use crate::args::Measured;
use crate::kinds;
use crate::load::Load;
use crate::meter::Sample;
use crate::report::{self, Cell};

#[derive(Clone, Copy, Debug)]
struct Goal {
    gauge: Gauge,
    of: Measure,
    /// Without one, what was measured is itself the figure.
    than: Option<Measure>,
    bound: Bound,
}

/// A kind under a load.
#[derive(Clone, Copy, Debug)]
struct Measure(&'static str, Load);

#[derive(Clone, Copy, Debug)]
enum Gauge {
    Rate,
    Cpu,
    P50,
    WakeUps,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};
use Gauge::{Cpu, P50, Rate, WakeUps};

const ONE: Load = Load::new(64, 1);
const SMALL: Load = Load::new(64, 256);
const MIDDLE: Load = Load::new(1024, 256);
const LARGE: Load = Load::new(64 << 10, 16);
const HUGE: Load = Load::new(1 << 20, 16);
const FEW: Load = Load::new(64, 16);
const DEEP: Load = Load::new(64, 4096);
const MANY: Load = Load::on(1000, 64, 1);
const IDLE: Load = Load::on(500, 64, 0);

const GOALS: &[Goal] = &[
    Goal::new(Rate, "tower-ws-rpc", "minimal", SMALL, AtLeast(0.80)),
    Goal::new(Rate, "tower-ws-rpc", "limit", SMALL, AtLeast(0.55)),
    Goal::new(Rate, "tower-ws-rpc", "limit", MIDDLE, AtLeast(0.75)),
    Goal {
        gauge: Cpu,
        of: Measure("tower-ws-rpc", DEEP),
        than: Some(Measure("tower-ws-rpc", SMALL)),
        bound: AtMost(1.0),
    },
    Goal::new(Rate, "tower-ws-echo", "tt-batch", SMALL, AtLeast(0.95)),
    Goal::new(Rate, "tower-ws-echo", "tt-batch", MIDDLE, AtLeast(0.95)),
    Goal::new(Rate, "tower-ws-echo", "tt-batch", LARGE, AtLeast(0.95)),
    Goal::new(Rate, "tower-ws-echo", "tt-batch", HUGE, AtLeast(1.3)),
    Goal::new(Rate, "tower-ws-plane", "tt-batch", SMALL, AtLeast(0.80)),
    Goal::new(P50, "tower-ws-plane", "tcp", ONE, AtMost(1.15)),
    Goal::new(P50, "tower-ws-rpc", "tcp", ONE, AtMost(1.25)),
    Goal::new(P50, "dial-transport", "dial-by-hand", ONE, AtMost(1.15)),
    Goal::new(P50, "dial-connect", "dial-by-hand", ONE, AtMost(1.5)),
    Goal::new(Rate, "tower-ws-rpc-threads", "minimal-threads", SMALL, AtLeast(0.80)),
    Goal::new(Cpu, "tower-ws-rpc-threads", "tower-ws-rpc", SMALL, AtMost(1.5)),
    Goal::new(Cpu, "tower-ws-echo", "tcp", MANY, AtMost(1.2)),
    Goal::new(Cpu, "tower-ws-plane", "tcp", MANY, AtMost(1.4)),
    Goal::new(Cpu, "tower-ws-rpc", "tcp", MANY, AtMost(2.0)),
    Goal {
        gauge: WakeUps,
        of: Measure("tower-ws-rpc", IDLE),
        than: None,
        bound: AtMost(0.1),
    },
];

/// With the feature `rivals`.
const AGAINST_RIVALS: &[Goal] = &[
    Goal::new(Rate, "tower-ws-mcp", "tower-mcp", FEW, AtLeast(1.2)),
    Goal::new(Cpu, "tower-ws-mcp", "tower-mcp", FEW, AtMost(0.6)),
];

fn goals() -> impl Iterator<Item = &'static Goal> {
    let rivals: &[Goal] = if cfg!(feature = "rivals") { AGAINST_RIVALS } else { &[] };
    GOALS.iter().chain(rivals)
}

/// What a goal came to. Displayed as a row of a table in Markdown.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// What was measured.
    pub(crate) of: String,
    /// What it was divided by, if by anything.
    pub(crate) than: Option<String>,
    pub(crate) bound: Bound,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// The median of the ratios of the CPU time.
    pub(crate) cpu: Option<f64>,
}

/// The cells that the goals need, with no more kinds than they need.
pub(crate) fn cells() -> Result<Vec<Measured>, BoxError> {
    let mut cells: Vec<Measured> = Vec::new();
    for Measure(name, load) in goals().flat_map(|goal| goal.than.into_iter().chain([goal.of])) {
        let kind = kinds::find(name)?;
        match cells.iter_mut().find(|cell| cell.load == load) {
            None => cells.push(Measured {
                load,
                kinds: vec![kind],
            }),
            Some(cell) if cell.kinds.iter().any(|other| other.name == name) => {}
            Some(cell) => cell.kinds.push(kind),
        }
    }
    Ok(cells)
}

/// What the goals came to, as far as they were measured.
pub(crate) fn outcomes(cells: &[Cell]) -> Vec<Outcome> {
    goals().filter_map(|goal| goal.outcome(cells)).collect()
}

pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = "| what | goal | median | least to most | CPU | |\n|---|---:|---:|---:|---:|---|\n".to_owned();
    for outcome in outcomes {
        table.push_str(&format!("{outcome}\n"));
    }
    table
}

// === impl Goal ===

impl Goal {
    const fn new(gauge: Gauge, kind: &'static str, than: &'static str, load: Load, bound: Bound) -> Self {
        Self {
            gauge,
            of: Measure(kind, load),
            than: Some(Measure(than, load)),
            bound,
        }
    }

    fn outcome(&self, cells: &[Cell]) -> Option<Outcome> {
        let of = self.of.samples(cells)?;
        let than = match self.than {
            Some(than) => Some(than.samples(cells)?),
            None => None,
        };
        let figures: Vec<f64> = match than {
            Some(than) => report::ratios(of, than, |sample| self.gauge.of(sample)).collect(),
            None => of.iter().map(|sample| self.gauge.of(sample)).collect(),
        };
        let (Measure(name, load), gauge) = (self.of, self.gauge);
        Some(Outcome {
            of: format!("{name}, {load}: {gauge}"),
            than: self.than.map(|Measure(name, than)| match than == load {
                true => name.to_owned(),
                false => format!("{name}, {than}"),
            }),
            bound: self.bound,
            median: report::median(figures.iter().copied()),
            least: figures.iter().copied().fold(f64::INFINITY, f64::min),
            cpu: than.map(|than| report::median(report::ratios(of, than, |sample| sample.cpu_us))),
            most: figures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

// === impl Measure ===

impl Measure {
    fn samples(self, cells: &[Cell]) -> Option<&[Sample]> {
        let cell = cells.iter().find(|cell| cell.load == self.1)?;
        Some(&cell.row(self.0)?.samples)
    }
}

// === impl Gauge ===

impl Gauge {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Rate => sample.rate,
            Cpu => sample.cpu_us,
            P50 => sample.p50_us.unwrap_or(f64::NAN),
            WakeUps => sample.wake_ups,
        }
    }
}

impl Display for Gauge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rate => "rate",
            Cpu => "CPU",
            P50 => "p50",
            WakeUps => "wake-ups/s of each",
        })
    }
}

// === impl Outcome ===

impl Outcome {
    /// How much of the goal is reached: 1 is all of it.
    pub(crate) fn reached(&self) -> f64 {
        match self.bound {
            AtLeast(least) => self.median / least,
            AtMost(most) => most / self.median,
        }
    }

    /// What was measured, and against what.
    pub(crate) fn title(&self) -> String {
        match &self.than {
            Some(than) => format!("{} x {than}", self.of),
            None => self.of.clone(),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            bound,
            median,
            least,
            most,
            cpu,
            ..
        } = self;
        let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
        let met = if self.reached() >= 1.0 { "met" } else { "missed" };
        let title = self.title();
        write!(
            f,
            "| {title} | {bound} | {median:.2} | {least:.2} to {most:.2} | {cpu} | {met} |"
        )
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            AtLeast(least) => write!(f, "at least {least:.2}"),
            AtMost(most) => write!(f, "at most {most:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_names_kinds_that_exist_and_is_measured_once() {
        let cells = cells().unwrap();
        for goal in goals() {
            for Measure(name, load) in goal.than.into_iter().chain([goal.of]) {
                let with = cells.iter().filter(|cell| cell.load == load);
                let kinds = with.flat_map(|cell| &cell.kinds).filter(|kind| kind.name == name);
                assert_eq!(kinds.count(), 1, "{name} {load}");
            }
        }
    }
}
