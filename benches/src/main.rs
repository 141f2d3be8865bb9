//! tower-ws side by side with its peers, inside one run: see README.md.

mod args;
mod chart;
mod check;
mod compare;
mod cpu;
mod drive;
mod goals;
mod kind;
mod kinds;
mod load;
mod meter;
mod once;
mod payload;
mod peer;
mod pin;
mod report;
mod runtime;
mod server;
mod tuned;

use std::error::Error;
use std::process::ExitCode;

use crate::args::{Command, Plan};

type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, BoxError> {
    match args::parse()? {
        Command::Help => print!("{}", args::USAGE),
        Command::Server(serving) => server::serve(serving)?,
        Command::Chart(path) => print!("{}", chart::draw(&std::fs::read_to_string(path)?)?),
        Command::Once(once) => once::run(&once)?,
        Command::Compare(plan) => return compare(&plan),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(plan: &Plan) -> Result<ExitCode, BoxError> {
    let cells = compare::run(plan)?;
    let outcomes = if plan.goals {
        goals::outcomes(&cells)
    } else {
        Vec::new()
    };
    if plan.goals {
        println!("{}", goals::table(&outcomes));
    }
    if let Some(path) = &plan.json {
        let json = serde_json::json!({
            "repetitions": plan.repetitions,
            "run_ms": plan.timing.run.as_millis() as u64,
            "cells": cells,
            "goals": outcomes,
        });
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    if plan.check && !check::hold(&cells) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
