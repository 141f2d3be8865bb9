//! The command line.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::clients::Orders;
use crate::rival::Rival;
use crate::row::Row;
use crate::work::Work;
use crate::{BoxError, Settings};

#[derive(Debug)]
pub(crate) enum Command {
    /// One of the Rust clients, which the runner starts.
    Client(String, Orders),
    Run(Choice),
    Table(PathBuf),
    Picture(PathBuf),
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) rivals: Vec<&'static Rival>,
    pub(crate) rows: Vec<Row>,
    pub(crate) json: Option<PathBuf>,
    /// Each event on standard error, as it comes.
    pub(crate) verbose: bool,
}

pub(crate) fn parse() -> Result<Command, BoxError> {
    let mut parser = Parser::from_env();
    let mut choice = Choice {
        rivals: Rival::ALL.iter().collect(),
        rows: Row::ALL.to_vec(),
        json: None,
        verbose: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("rivals") => choice.rivals = list(&parser.value()?.string()?, Rival::named)?,
            Arg::Long("rows") => choice.rows = list(&parser.value()?.string()?, row)?,
            Arg::Long("json") => choice.json = Some(parser.value()?.into()),
            Arg::Long("verbose") => choice.verbose = true,
            Arg::Value(command) => match command.string()?.as_str() {
                "client" => return client(parser),
                "table" => return Ok(Command::Table(parser.value()?.into())),
                "picture" => return Ok(Command::Picture(parser.value()?.into())),
                other => return Err(format!("there is no command {other}").into()),
            },
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(choice))
}

fn client(mut parser: Parser) -> Result<Command, BoxError> {
    let name = parser.value()?.string()?;
    let mut orders = Orders {
        url: String::new(),
        settings: Settings::Defaults,
        work: Work::default(),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("url") => orders.url = parser.value()?.string()?,
            Arg::Long("settings") => {
                orders.settings = match parser.value()?.string()?.as_str() {
                    "best" => Settings::Best,
                    _ => Settings::Defaults,
                }
            }
            Arg::Long("work") => orders.work = serde_json::from_str(&parser.value()?.string()?)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Client(name, orders))
}

fn list<T>(names: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, BoxError> {
    names
        .split(',')
        .map(|name| find(name).ok_or_else(|| format!("there is no {name}").into()))
        .collect()
}

fn row(name: &str) -> Option<Row> {
    Row::ALL.into_iter().find(|row| row.name() == name)
}
