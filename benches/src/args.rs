//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::BoxError;
use crate::goals;
use crate::kind::Kind;
use crate::kinds;
use crate::load::Load;
use crate::meter::Timing;
use crate::once::Once;

pub(crate) const USAGE: &str = "\
Usage: tower-ws-benches [OPTIONS]
       tower-ws-benches once KIND SIZE WINDOW REPLIES
       tower-ws-benches chart PATH
       tower-ws-benches server [--core N] [--sleeps]

  --quick             shorter and fewer runs
  --peer-sleeps       the peer sleeps as soon as there is nothing to read, as servers do
  --goals             measure what the goals need, and how much of each is reached
  --check             exit with 1 unless the thresholds hold
  --json PATH         write every sample and the summary there
  --kinds A,B         only these (default: all)
  --sizes A,B         payloads in bytes (default: 64,1024,65536)
  --windows A,B       messages in flight on each connection (default: 1,16,256)
  --connections N     as many clients in one process (default: 1)
  --repetitions N     runs of each kind in each cell (default: 7, quick 3)
  --run-ms N          length of a run (default: 400, quick 200)

once runs one kind until it has had that many replies, and prints how many there were: for
tools that count from outside. chart makes an SVG of what --goals --json has written to PATH.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Server(Serving),
    /// Run one kind once.
    Once(Once),
    /// Draw what was measured of the goals and written there.
    Chart(PathBuf),
    Compare(Plan),
}

/// How to be the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Serving {
    pub(crate) core: Option<usize>,
    /// It sleeps as soon as there is nothing to read, rather than ask again for a while.
    pub(crate) sleeps: bool,
}

/// A load, and the kinds to be compared under it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) load: Load,
    pub(crate) kinds: Vec<Kind>,
}

/// What to measure, and what to do with it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Measured>,
    pub(crate) repetitions: usize,
    pub(crate) timing: Timing,
    pub(crate) peer_sleeps: bool,
    pub(crate) check: bool,
    /// How far the goals are, rather than how everything compares.
    pub(crate) goals: bool,
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn parse() -> Result<Command, BoxError> {
    let mut parser = Parser::from_env();
    let mut quick = false;
    let (mut repetitions, mut run_ms) = (None, None);
    let (mut kinds, mut connections) = (kinds::all(), 1);
    let (mut sizes, mut windows) = (vec![64, 1024, 64 * 1024], vec![1, 16, 256]);
    let mut plan = Plan {
        cells: Vec::new(),
        repetitions: 0,
        timing: Timing {
            warm_up: Duration::from_millis(50),
            run: Duration::ZERO,
        },
        peer_sleeps: false,
        check: false,
        goals: false,
        json: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(command) if command == "server" => return server(parser),
            Arg::Value(command) if command == "chart" => return Ok(Command::Chart(parser.value()?.into())),
            Arg::Value(command) if command == "once" => return once(parser),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("quick") => quick = true,
            Arg::Long("peer-sleeps") => plan.peer_sleeps = true,
            Arg::Long("check") => plan.check = true,
            Arg::Long("goals") => plan.goals = true,
            Arg::Long("json") => plan.json = Some(parser.value()?.into()),
            Arg::Long("kinds") => kinds = list(&mut parser, kinds::find)?,
            Arg::Long("sizes") => sizes = list(&mut parser, |size| Ok(size.parse()?))?,
            Arg::Long("windows") => windows = list(&mut parser, positive)?,
            Arg::Long("connections") => connections = positive(&parser.value()?.string()?)?,
            Arg::Long("repetitions") => {
                repetitions = Some(positive(&parser.value()?.string()?)? as usize);
            }
            Arg::Long("run-ms") => run_ms = Some(positive(&parser.value()?.string()?)?),
            arg => return Err(arg.unexpected().into()),
        }
    }
    if plan.goals {
        plan.cells = goals::cells()?;
        sizes.clear();
    }
    for &size in &sizes {
        plan.cells.extend(windows.iter().map(|&window| Measured {
            load: Load::on(connections, size, window),
            kinds: kinds.clone(),
        }));
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
        kind: kinds::find(&parser.value()?.string()?)?,
        load: Load::new(parser.value()?.parse()?, positive(&parser.value()?.string()?)?),
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
