//! tower-ws and its rivals against one hostile server: who stays up, who says what became of a call, who storms. See
//! README.md.

mod account;
mod args;
mod cell;
mod clients;
mod judge;
mod picture;
mod process;
mod report;
mod rival;
mod row;
mod run;
mod server;
mod work;

use serde::{Deserialize, Serialize};

use self::args::Command;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// With which settings a rival is tried.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Settings {
    /// As the first example of its documentation has it.
    Defaults,
    /// The best that its documentation offers.
    Best,
}

impl Settings {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Best => "best",
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match args::parse()? {
        Command::Client(name, orders) => clients::run(&name, orders).await?,
        Command::Run(choice) => run::run(choice).await?,
        Command::Table(results) => println!("{}", report::table(&report::read(&results)?)),
        Command::Picture(results) => print!("{}", picture::draw(&report::read(&results)?)?),
    }
    Ok(())
}
