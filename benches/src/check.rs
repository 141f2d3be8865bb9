//! The thresholds of `--check`.

use crate::kinds;
use crate::load::Load;
use crate::report::Cell;

/// How much faster a kind has to be than another, in one cell.
struct Threshold {
    kind: &'static str,
    baseline: &'static str,
    load: Load,
    /// The smallest ratio of the rates.
    at_least: f64,
}

const THRESHOLDS: &[Threshold] = &[
    Threshold {
        kind: "tower-ws-rpc",
        baseline: "jsonrpsee",
        load: Load::new(64, 256),
        at_least: 8.0,
    },
    Threshold {
        kind: "tower-ws-echo",
        baseline: "tt-batch",
        load: Load::new(64, 256),
        at_least: 0.8,
    },
    Threshold {
        kind: "tower-ws-echo",
        baseline: "tt-batch",
        load: Load::new(1024, 256),
        at_least: 0.8,
    },
];

/// Whether every threshold holds, each printed with what was measured. What was not measured does
/// not hold.
pub(crate) fn hold(cells: &[Cell]) -> bool {
    // All of them are to be printed, hence no `all`.
    THRESHOLDS.iter().filter(|threshold| !threshold.holds(cells)).count() == 0
}

impl Threshold {
    fn holds(&self, cells: &[Cell]) -> bool {
        let Self {
            kind,
            baseline,
            load,
            at_least,
        } = self;
        let versus = cells
            .iter()
            .find(|cell| cell.load == *load)
            .and_then(|cell| cell.versus(kind, baseline));
        let holds = versus.is_some_and(|versus| versus.rate >= *at_least);
        print!("{kind} >= {at_least} x {baseline} at {load}: ");
        match versus {
            Some(versus) if holds => println!("holds: {:.2} (CPU {:.3})", versus.rate, versus.cpu),
            Some(versus) => println!("FAILS: {:.2} (CPU {:.3})", versus.rate, versus.cpu),
            None if kinds::find(kind).is_err() => {
                println!("FAILS: the slot is empty, there is no such kind yet");
            }
            None => println!("FAILS: not measured in this run"),
        }
        holds
    }
}
