//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::BoxError;
use crate::kind::Kind;
use crate::kinds;
use crate::meter::Timing;
use crate::once::Once;

pub(crate) const USAGE: &str = "\
Usage: tower-ws-benches [OPTIONS]
       tower-ws-benches once KIND SIZE WINDOW REPLIES
       tower-ws-benches server [--core N] [--sleeps]

  --quick             shorter and fewer runs
  --peer-sleeps       the peer sleeps as soon as there is nothing to read, as servers do
  --check             exit with 1 unless the thresholds hold
  --json PATH         write every sample and the summary there
  --kinds A,B         only these (default: all)
  --sizes A,B         payloads in bytes (default: 64,1024,65536)
  --windows A,B       messages in flight (default: 1,16,256)
  --repetitions N     runs of each kind in each cell (default: 7, quick 3)
  --run-ms N          length of a run (default: 400, quick 200)

once runs one kind until it has had that many replies, and prints how many there were: for
tools that count from outside.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Server(Serving),
    /// Run one kind once.
    Once(Once),
    Compare(Plan),
}

/// How to be the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Serving {
    pub(crate) core: Option<usize>,
    /// It sleeps as soon as there is nothing to read, rather than ask again for a while.
    pub(crate) sleeps: bool,
}

/// What to measure, and what to do with it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) windows: Vec<u64>,
    pub(crate) repetitions: usize,
    pub(crate) timing: Timing,
    pub(crate) peer_sleeps: bool,
    pub(crate) check: bool,
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn parse() -> Result<Command, BoxError> {
    let mut parser = Parser::from_env();
    let mut quick = false;
    let (mut repetitions, mut run_ms) = (None, None);
    let mut plan = Plan {
        kinds: kinds::ALL.to_vec(),
        sizes: vec![64, 1024, 64 * 1024],
        windows: vec![1, 16, 256],
        repetitions: 0,
        timing: Timing {
            warm_up: Duration::from_millis(50),
            run: Duration::ZERO,
        },
        peer_sleeps: false,
        check: false,
        json: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(command) if command == "server" => return server(parser),
            Arg::Value(command) if command == "once" => return once(parser),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("quick") => quick = true,
            Arg::Long("peer-sleeps") => plan.peer_sleeps = true,
            Arg::Long("check") => plan.check = true,
            Arg::Long("json") => plan.json = Some(parser.value()?.into()),
            Arg::Long("kinds") => plan.kinds = list(&mut parser, find_kind)?,
            Arg::Long("sizes") => plan.sizes = list(&mut parser, |size| Ok(size.parse()?))?,
            Arg::Long("windows") => plan.windows = list(&mut parser, positive)?,
            Arg::Long("repetitions") => {
                repetitions = Some(positive(&parser.value()?.string()?)? as usize);
            }
            Arg::Long("run-ms") => run_ms = Some(positive(&parser.value()?.string()?)?),
            arg => return Err(arg.unexpected().into()),
        }
    }
    plan.repetitions = repetitions.unwrap_or(if quick { 3 } else { 7 });
    plan.timing.run = Duration::from_millis(run_ms.unwrap_or(if quick { 200 } else { 400 }));
    Ok(Command::Compare(plan))
}

fn server(mut parser: Parser) -> Result<Command, BoxError> {
    let mut serving = Serving::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("core") => serving.core = Some(parser.value()?.parse()?),
            Arg::Long("sleeps") => serving.sleeps = true,
            arg => return Err(arg.unexpected().into()),
        }
    }
    Ok(Command::Server(serving))
}

fn once(mut parser: Parser) -> Result<Command, BoxError> {
    Ok(Command::Once(Once {
        kind: find_kind(&parser.value()?.string()?)?,
        size: parser.value()?.parse()?,
        window: positive(&parser.value()?.string()?)?,
        replies: positive(&parser.value()?.string()?)?,
    }))
}

fn list<T>(parser: &mut Parser, parse: impl Fn(&str) -> Result<T, BoxError>) -> Result<Vec<T>, BoxError> {
    parser.value()?.string()?.split(',').map(parse).collect()
}

fn positive(number: &str) -> Result<u64, BoxError> {
    match number.parse()? {
        0 => Err("0 where a positive number is needed".into()),
        number => Ok(number),
    }
}

fn find_kind(name: &str) -> Result<Kind, BoxError> {
    let kind = kinds::ALL.iter().find(|kind| kind.name == name);
    kind.copied().ok_or_else(|| format!("no kind is called {name}").into())
}
