//! The results: as JSON, and as tables.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::judge::{Judgement, Verdict};
use crate::rival::Rival;
use crate::row::Row;
use crate::{BoxError, Settings};

/// All that was found out.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    /// Name and version of each client that was tried.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) cells: Vec<Cell>,
}

/// One run, judged.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) row: String,
    pub(crate) rival: String,
    pub(crate) settings: Settings,
    #[serde(flatten)]
    pub(crate) judgement: Judgement,
}

impl Results {
    pub(crate) fn new(cells: Vec<Cell>) -> Self {
        let tried = Rival::ALL
            .iter()
            .filter(|rival| cells.iter().any(|cell| cell.rival == rival.name));
        let versions = tried
            .map(|rival| (rival.name.to_owned(), rival.version().to_owned()))
            .collect();
        Self { versions, cells }
    }

    pub(crate) fn cell(&self, row: Row, rival: &str, settings: Settings) -> Option<&Judgement> {
        let is = |cell: &&Cell| cell.row == row.name() && cell.rival == rival && cell.settings == settings;
        self.cells.iter().find(is).map(|cell| &cell.judgement)
    }

    /// Of those that were run.
    pub(crate) fn rows(&self) -> Vec<Row> {
        Row::ALL
            .into_iter()
            .filter(|row| self.cells.iter().any(|cell| cell.row == row.name()))
            .collect()
    }
}

/// What `--json` has written.
pub(crate) fn read(path: &Path) -> Result<Results, BoxError> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Markdown: a table for each kind of settings, and what the settings are.
pub(crate) fn table(results: &Results) -> String {
    let mut text = String::new();
    for (settings, title) in [
        (Settings::Defaults, "With defaults"),
        (Settings::Best, "With the best settings"),
    ] {
        let tried = |name: &str| {
            results
                .cells
                .iter()
                .any(|cell| cell.rival == name && cell.settings == settings)
        };
        let columns: Vec<_> = results.versions.iter().filter(|(name, _)| tried(name)).collect();
        if columns.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "### {title}\n\n|  |");
        for (name, version) in &columns {
            let _ = write!(text, " {name} {version} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
        for row in results.rows() {
            let _ = write!(text, "| {} |", row.title());
            for (name, _) in &columns {
                let cell = results.cell(row, name, settings);
                let _ = match cell {
                    Some(cell) => write!(text, " {} {} |", mark(cell.verdict), cell.figure),
                    None => write!(text, "  |"),
                };
            }
            text.push('\n');
        }
        text.push('\n');
    }
    let _ = writeln!(text, "| client | defaults | best settings |\n|---|---|---|");
    for rival in Rival::ALL
        .iter()
        .filter(|rival| results.versions.iter().any(|(name, _)| name == rival.name))
    {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            rival.name,
            rival.defaults,
            rival.best.unwrap_or("–")
        );
    }
    text.trim_end().to_owned()
}

/// How a verdict looks where there is no colour.
pub(crate) fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "●",
        Verdict::Partly => "◐",
        Verdict::Bad => "○",
        Verdict::None => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture;

    #[test]
    fn what_is_shown_is_what_was_found() {
        let results = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/results.json"))).unwrap();
        assert!(
            include_str!("../README.md").contains(&table(&results)),
            "README.md has other tables"
        );
        let picture = picture::draw(&results).unwrap();
        assert!(
            include_str!("../../scoreboard.svg") == picture,
            "scoreboard.svg is another picture"
        );
    }
}
