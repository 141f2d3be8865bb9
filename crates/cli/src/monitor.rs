//! `tower-ws monitor`.

pub(crate) mod record;

use std::{
    fs::File,
    io::{self, Write},
    time::Duration,
};

use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tower_ws::{
    Incoming,
    config::Config,
    core::Up,
    health, messages,
    monitor::Monitor,
    reconnect::{self, State},
};
use tracing::level_filters::LevelFilter;

use self::record::{Change, Line, Second};
use crate::{
    args::{MonitorArgs, Output},
    exit::{Exit, Trouble},
    log,
    output::tell,
    settings::{Settings, me},
};

/// How often the peer is asked while nothing else is said.
const OFTEN: Duration = Duration::from_secs(1);

/// A recording that is as long as this begins anew; the one before it stays beside it.
const LONGEST: u64 = 64 << 20;

pub(crate) async fn run(args: MonitorArgs) -> Result<Exit, Trouble> {
    // What happens is on the screen.
    log::begin(&args.connection, LevelFilter::ERROR)?;
    let Settings { mut config, places } = Settings::load(Some(&args.url), &args.connection)?;
    if !places.contains_key("health.interval") {
        // Whoever watches wants to see round trips, and not only that there is a peer.
        config.health.interval = OFTEN;
    }
    let mut tape = args.record.as_deref().map(Tape::open).transpose()?;
    let watched = Watched::begin(&config, args.mcp).await?;
    let deadline = args.length.and_then(|length| Instant::now().checked_add(length));
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut changes = watched.reconnect.as_ref().map(reconnect::Handle::transitions);
    let mut before = None;
    loop {
        let change = async {
            match &mut changes {
                Some(changes) => changes.recv().await,
                None => std::future::pending().await,
            }
        };
        let line = tokio::select! {
            _ = seconds.tick() => {
                let second = watched.look();
                let line = Line::Second(second.clone());
                if args.output == Output::Text && !tell(&second.text(before.as_ref())) {
                    return Ok(Exit::Done);
                }
                before = Some(second);
                line
            }
            change = change => match change {
                Ok(change) => {
                    let change = Change::of(&change);
                    if args.output == Output::Text && !tell(&change.text()) {
                        return Ok(Exit::Done);
                    }
                    Line::Change(change)
                }
                // The next second tells how it is.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Ok(watched.exit()),
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return Ok(Exit::Done),
        };
        let json = line.json();
        if args.output == Output::Json && !tell(&json) {
            return Ok(Exit::Done);
        }
        if let Some(tape) = &mut tape {
            tape.write(&json)?;
        }
        if matches!(watched.state(), Some(State::Closed | State::Failed { .. })) {
            return Ok(watched.exit());
        }
    }
}

/// A session that is watched.
struct Watched {
    monitor: Monitor,
    reconnect: Option<reconnect::Handle>,
    health: Option<health::Handle>,
}

impl Watched {
    /// Connects, and reads whatever comes.
    async fn begin(config: &Config, mcp: bool) -> Result<Self, Trouble> {
        let up = if mcp {
            let (mcp, mut inbound) = config.mcp(me())?.connect().await?;
            let up = loop {
                match inbound.next().await {
                    Some(Incoming::Up(up)) => break up,
                    Some(_) => {}
                    None => return Err(ended()),
                }
            };
            tokio::spawn(async move {
                let _mcp = mcp;
                while inbound.next().await.is_some() {}
            });
            up
        } else {
            let (sender, mut events) = config.builder()?.messages().connect().await?;
            let up = loop {
                match events.next().await {
                    Some(messages::Event::Up(up)) => break up,
                    Some(_) => {}
                    None => return Err(ended()),
                }
            };
            tokio::spawn(async move {
                let _sender = sender;
                while events.next().await.is_some() {}
            });
            up
        };
        Ok(Self::of(&up))
    }

    fn of(up: &Up) -> Self {
        Self {
            monitor: Monitor::of(up),
            reconnect: up.extensions.get().cloned(),
            health: up.extensions.get().cloned(),
        }
    }

    fn state(&self) -> Option<State> {
        self.reconnect.as_ref().map(|handle| handle.snapshot().state)
    }

    fn look(&self) -> Second {
        let health = self.health.as_ref().map(health::Handle::snapshot);
        Second::of(&self.monitor.snapshot(), health.as_ref())
    }

    /// The session has ended.
    fn exit(&self) -> Exit {
        match self.state() {
            Some(State::Failed { cause }) => Exit::from(&cause),
            _ => Exit::Peer,
        }
    }
}

fn ended() -> Trouble {
    Trouble::new(Exit::Peer, "the session ended before it was up")
}

/// A recording.
struct Tape {
    file: File,
    path: std::path::PathBuf,
    written: u64,
}

impl Tape {
    fn open(path: &std::path::Path) -> Result<Self, Trouble> {
        let file = File::create(path).map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            written: 0,
        })
    }

    fn write(&mut self, json: &str) -> Result<(), Trouble> {
        let failed = |error: io::Error| Trouble::new(Exit::Local, format!("{}: {error}", self.path.display()));
        if self.written > LONGEST {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old).map_err(failed)?;
            self.file = File::create(&self.path).map_err(failed)?;
            self.written = 0;
        }
        writeln!(self.file, "{json}").map_err(failed)?;
        self.written += json.len() as u64 + 1;
        Ok(())
    }
}
