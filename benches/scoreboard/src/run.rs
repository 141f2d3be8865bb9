//! The whole table: which cells run when, and beside which others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::Choice;
use crate::judge::judge;
use crate::report::{self, Cell, Results};
use crate::rival::Rival;
use crate::row::{Company, Row};
use crate::{BoxError, Settings, cell};

/// So many clients wait beside each other.
const CROWD: usize = 48;
/// Starting one takes the machine a moment.
const START: Duration = Duration::from_millis(150);

type Column = (&'static Rival, Settings);

pub(crate) async fn run(choice: Choice) -> Result<(), BoxError> {
    let mut columns: Vec<Column> = Vec::new();
    for rival in choice.rivals {
        match rival.command() {
            Ok(_) => columns.extend(rival.settings().into_iter().map(|settings| (rival, settings))),
            Err(why) => eprintln!("SKIPPED: {}: {why}", rival.name),
        }
    }
    let rows = |company| choice.rows.iter().copied().filter(move |row| row.company() == company);
    let mut cells = Vec::new();

    // The longest first.
    let mut waiting: Vec<(Row, Column)> = pairs(rows(Company::Waiting), &columns);
    waiting.sort_by_key(|(row, _)| std::cmp::Reverse(row.lasts()));
    let crowd = Arc::new(Semaphore::new(CROWD));
    let mut running = JoinSet::new();
    for (row, column) in waiting {
        let place = crowd.clone().acquire_owned().await?;
        sleep(START).await;
        running.spawn(async move {
            let cell = fill(row, column, choice.verbose).await;
            drop(place);
            cell
        });
    }
    cells.extend(all(running).await?);

    for column in &columns {
        let mut running = JoinSet::new();
        for row in rows(Company::Storms) {
            running.spawn(fill(row, *column, choice.verbose));
        }
        cells.extend(all(running).await?);
    }
    for (row, column) in pairs(rows(Company::Alone), &columns) {
        cells.push(fill(row, column, choice.verbose).await?);
    }

    cells.sort_by_key(|cell| {
        let row = Row::ALL.iter().position(|row| row.name() == cell.row);
        let rival = Rival::ALL.iter().position(|rival| rival.name == cell.rival);
        (row, rival, cell.settings)
    });
    let results = Results::new(cells);
    if let Some(path) = choice.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")?;
    }
    println!("{}", report::table(&results));
    Ok(())
}

fn pairs(rows: impl Iterator<Item = Row>, columns: &[Column]) -> Vec<(Row, Column)> {
    rows.flat_map(|row| columns.iter().map(move |column| (row, *column)))
        .collect()
}

async fn all(mut running: JoinSet<Result<Cell, BoxError>>) -> Result<Vec<Cell>, BoxError> {
    let mut cells = Vec::new();
    while let Some(cell) = running.join_next().await {
        cells.push(cell??);
    }
    Ok(cells)
}

async fn fill(row: Row, (rival, settings): Column, verbose: bool) -> Result<Cell, BoxError> {
    let account = cell::run(row, rival, settings, verbose).await?;
    let judgement = judge(row, rival, &account);
    let name = rival.name;
    eprintln!(
        "{:12} {name:12} {:8} {:?}: {}",
        row.name(),
        settings.name(),
        judgement.verdict,
        judgement.figure
    );
    if let Some(why) = account.last_words() {
        eprintln!("{:34} {why}", "");
    }
    Ok(Cell {
        row: row.name().to_owned(),
        rival: name.to_owned(),
        settings,
        judgement,
    })
}
