//! `tower-ws`: WebSocket servers from the command line. See `README.md`, and `tower-ws help`.

mod args;
mod bridge;
mod call;
mod cat;
mod config;
mod doctor;
mod exit;
mod input;
mod jwt;
mod log;
mod monitor;
mod output;
mod pretty;
mod report;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use self::{
    args::{Args, Command},
    exit::{Exit, Trouble},
};

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Command::Config(args) => config::run(args),
        Command::Report(args) => report::run(&args),
        Command::Completions(args) => args::completions(&args),
        Command::Man => args::man(),
        command => in_runtime(command),
    };
    let ended = ended.and_then(|exit| output::check().map(|()| exit));
    log::finish();
    match ended {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            output::remark(trouble.to_string().trim_end());
            trouble.exit.into()
        }
    }
}

/// What needs the network, until it ends or somebody interrupts it.
fn in_runtime(command: Command) -> Result<Exit, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new(Exit::Local, format!("no runtime could be made: {error}")))?;
    let ended = runtime.block_on(async {
        match command {
            // It says goodbye first.
            Command::Bridge(args) => bridge::run(args).await,
            command => tokio::select! {
                // First, so that a signal is heard from the beginning.
                biased;
                exit = interrupted() => Ok(exit),
                ended = run(command) => ended,
            },
        }
    });
    // Whoever reads from a terminal never comes back.
    runtime.shutdown_background();
    ended
}

async fn run(command: Command) -> Result<Exit, Trouble> {
    match command {
        Command::Doctor(args) => doctor::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::Cat(args) => cat::run(args).await,
        Command::Monitor(args) => monitor::run(args).await,
        // Elsewhere.
        Command::Bridge(_) | Command::Config(_) | Command::Report(_) | Command::Completions(_) | Command::Man => {
            Ok(Exit::Done)
        }
    }
}

/// Somebody wants it to end.
pub(crate) async fn interrupted() -> Exit {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
        Exit::Interrupted
    }
}
