//! `tower-ws monitor`.

#[cfg(feature = "screen")]
mod history;
pub(crate) mod record;
#[cfg(feature = "screen")]
mod screen;
#[cfg(feature = "screen")]
mod terminal;

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
#[cfg(feature = "screen")]
use tower_ws::connector::WsUrl;
use tower_ws::{
    Builder, Incoming, Message,
    config::Config,
    core::Up,
    health,
    mcp::{Mcp, McpBuilder, ServerInfo},
    messages,
    monitor::Monitor,
    reconnect::{self, State},
};
use tracing::level_filters::LevelFilter;

use self::record::{Change, Line, Second};
use crate::{
    args::{MonitorArgs, Output},
    exit::{Exit, Trouble},
    log,
    output::Lines,
    settings::{Settings, me},
};

/// How often the peer is asked while nothing else is said.
const OFTEN: Duration = Duration::from_secs(1);

/// A recording that is as long as this begins anew; the one before it stays beside it.
const LONGEST: u64 = 64 << 20;

pub(crate) async fn run(args: MonitorArgs) -> Result<Exit, Trouble> {
    let draws = draws(&args);
    // What happens is shown, and on a screen nothing else may be; but for why it does not come up.
    let usually = if draws { LevelFilter::OFF } else { LevelFilter::WARN };
    log::begin(&args.connection, usually)?;
    let Settings { mut config, places } = Settings::load(Some(&args.url), &args.connection)?;
    if !places.contains_key("health.interval") {
        // Whoever watches wants to see round trips, and not only that there is a peer.
        config.health.interval = OFTEN;
    }
    let tape = args.record.as_deref().map(Tape::open).transpose()?;
    let deadline = args.length.and_then(|length| Instant::now().checked_add(length));
    let (mut watched, begins) = Watched::begin(&config, args.mcp)?;
    let mut face = Face::lines(args.form.output());
    #[cfg(feature = "screen")]
    if draws {
        face = Face::screen(&config, &watched, tape.is_some())?;
    }
    let ended = watched.watch(begins, &mut face, tape, deadline).await;
    watched.leave().await;
    face.end(ended.as_ref().ok().and_then(|(_, last)| last.as_ref())).await;
    ended.map(|(exit, _)| exit)
}

/// Whether there is a screen to draw on, and nothing else is asked for.
fn draws(args: &MonitorArgs) -> bool {
    let wanted = !args.plain && args.form.output() == Output::Text && !log::is_shown(&args.connection);
    cfg!(feature = "screen") && wanted && io::stdout().is_terminal()
}

/// Where what is seen is shown.
enum Face {
    Lines {
        output: Output,
        before: Option<Box<Second>>,
        lines: Lines,
    },
    #[cfg(feature = "screen")]
    Screen(Box<terminal::Screen>),
}

impl Face {
    fn lines(output: Output) -> Self {
        Self::Lines {
            output,
            before: None,
            lines: Lines::begin(),
        }
    }

    #[cfg(feature = "screen")]
    fn screen(config: &Config, watched: &Watched, records: bool) -> Result<Self, Trouble> {
        // It has been dialled: it is a URL.
        let server = config
            .url
            .parse::<WsUrl>()
            .map_or_else(|_| "-".to_owned(), |url| url.redacted().to_string());
        let view = screen::View {
            server,
            records,
            ..screen::View::default()
        };
        let reconnect = watched.reconnect.clone();
        Ok(Self::Screen(Box::new(terminal::Screen::open(view, reconnect)?)))
    }

    /// The session is up for the first time.
    #[cfg(feature = "screen")]
    fn meet(&mut self, watched: &Watched) {
        if let Self::Screen(screen) = self {
            let peer = watched.peer.as_ref().map(introduction).unwrap_or_default();
            screen.meet(peer, watched.health.clone());
        }
    }

    /// False once nobody sees it.
    fn show(&mut self, line: &Line) -> bool {
        match self {
            Self::Lines {
                output: Output::Json,
                lines,
                ..
            } => lines.offer(line.json()),
            Self::Lines { before, lines, .. } => lines.offer(match line {
                Line::Second(second) => {
                    let text = second.text(before.as_deref());
                    *before = Some(second.clone());
                    text
                }
                Line::Change(change) => change.text(),
            }),
            #[cfg(feature = "screen")]
            Self::Screen(screen) => screen.show(line).is_ok(),
        }
    }

    /// Does what its user wants, until they want it to end.
    async fn attend(&mut self) -> Exit {
        match self {
            Self::Lines { .. } => std::future::pending().await,
            #[cfg(feature = "screen")]
            Self::Screen(screen) => screen.attend().await,
        }
    }

    /// It is over. What ended the session, if that is why, stays to be read where the screen was.
    async fn end(self, last: Option<&Line>) {
        let lines = match self {
            Self::Lines { lines, .. } => lines,
            #[cfg(feature = "screen")]
            Self::Screen(screen) => {
                drop(screen);
                let mut face = Self::lines(Output::Text);
                if let Some(line) = last {
                    face.show(line);
                }
                let Self::Lines { lines, .. } = face else { return };
                lines
            }
        };
        let _ = last;
        lines.finish().await;
    }
}

/// Which MCP it speaks, and who it is.
#[cfg(feature = "screen")]
fn introduction(server: &ServerInfo) -> String {
    let version = server.protocol_version();
    match server.implementation() {
        Some(me) => format!("mcp {version} {} {}", me.name, me.version),
        None => format!("mcp {version}"),
    }
}

/// How long a goodbye may take.
const GRACE: Duration = Duration::from_secs(1);

/// What keeps a session up, and ends it.
enum Session {
    Plain(messages::Sender<Message>),
    Mcp(Mcp),
}

/// A session that is up for the first time.
struct Begun {
    up: Up,
    peer: Option<ServerInfo>,
    session: Session,
}

/// What comes of the first dials.
type Begins = Pin<Box<dyn Future<Output = Result<Begun, Trouble>> + Send>>;

/// A session that is watched, from its first dial on.
struct Watched {
    monitor: Monitor,
    reconnect: reconnect::Handle,
    health: Option<health::Handle>,
    /// What an MCP server says of itself.
    #[cfg_attr(
        not(feature = "screen"),
        allow(dead_code, reason = "lines are of a connection alone")
    )]
    peer: Option<ServerInfo>,
    /// There is one once it is up.
    session: Option<Session>,
}

impl Watched {
    /// What connects, and then reads whatever comes; and what watches it meanwhile.
    fn begin(config: &Config, mcp: bool) -> Result<(Self, Begins), Trouble> {
        let (reconnect, begins): (_, Begins) = if mcp {
            let mut reconnect = None;
            let builder = config.mcp(me())?.stack(|mut stack| {
                reconnect = Some(stack.handle());
                stack
            });
            (reconnect.ok_or_else(ended)?, Box::pin(begin_mcp(builder)))
        } else {
            let mut builder = config.builder()?;
            (builder.handle(), Box::pin(begin_plain(builder)))
        };
        let watched = Self {
            monitor: Monitor::before(reconnect.clone()),
            reconnect,
            health: None,
            peer: None,
            session: None,
        };
        Ok((watched, begins))
    }

    fn is_up(&mut self, begun: Begun) {
        self.monitor = Monitor::of(&begun.up);
        self.health = begun.up.extensions.get().cloned();
        self.peer = begun.peer;
        self.session = Some(begun.session);
    }

    /// Says goodbye.
    async fn leave(self) {
        match self.session {
            Some(Session::Mcp(mcp)) => drop(mcp.close(GRACE).await),
            Some(Session::Plain(sender)) => drop(sender.close(GRACE).await),
            None => {}
        }
    }

    /// Until it ends, or its time does, or nobody looks any more. With what ended the session.
    async fn watch(
        &mut self,
        mut begins: Begins,
        face: &mut Face,
        mut tape: Option<Tape>,
        deadline: Option<Instant>,
    ) -> Result<(Exit, Option<Line>), Trouble> {
        let second = Duration::from_secs(1);
        let mut seconds = interval_at(Instant::now() + second, second);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut changes = self.reconnect.transitions();
        // The first dial is no news, nor that it was good.
        let mut is_news = false;
        loop {
            let line = tokio::select! {
                // What has happened comes before what became of it.
                biased;
                change = changes.recv() => match change {
                    Ok(change) => {
                        is_news |= !matches!(change.state, State::Connecting { .. } | State::Connected { .. });
                        if !is_news {
                            continue;
                        }
                        Line::Change(Change::of(&change))
                    }
                    // The next second tells how it is.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return Ok((self.exit(), None)),
                },
                begun = &mut begins, if self.session.is_none() => {
                    self.is_up(begun?);
                    if !std::mem::replace(&mut is_news, true) {
                        changes = self.reconnect.transitions();
                    }
                    #[cfg(feature = "screen")]
                    face.meet(self);
                    seconds.reset_immediately();
                    continue;
                }
                _ = seconds.tick() => Line::Second(Box::new(self.look())),
                exit = face.attend() => return Ok((exit, None)),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return match self.session {
                        Some(_) => Ok((Exit::Done, None)),
                        None => Err(Trouble::new(Exit::Time, "there was no connection in that time")),
                    };
                }
            };
            let shown = face.show(&line);
            if let Some(tape) = &mut tape {
                tape.write(&line.json())?;
            }
            if !shown {
                return Ok((Exit::Done, None));
            }
            if matches!(self.state(), State::Closed | State::Failed { .. }) {
                if self.session.is_none() {
                    // It says why, and what to do.
                    begins.await?;
                }
                return Ok((self.exit(), Some(line)));
            }
        }
    }

    fn state(&self) -> State {
        self.reconnect.snapshot().state
    }

    fn look(&self) -> Second {
        let health = self.health.as_ref().map(health::Handle::snapshot);
        Second::of(&self.monitor.snapshot(), Some(&self.state()), health.as_ref())
    }

    /// The session has ended.
    fn exit(&self) -> Exit {
        match self.state() {
            State::Failed { cause } => Exit::from(&cause),
            _ => Exit::Peer,
        }
    }
}

async fn begin_mcp(builder: McpBuilder) -> Result<Begun, Trouble> {
    let (mcp, mut inbound) = builder.connect().await?;
    let up = loop {
        match inbound.next().await {
            Some(Incoming::Up(up)) => break up,
            Some(_) => {}
            None => return Err(ended()),
        }
    };
    let peer = mcp.server();
    tokio::spawn(async move { while inbound.next().await.is_some() {} });
    Ok(Begun {
        up,
        peer,
        session: Session::Mcp(mcp),
    })
}

async fn begin_plain(builder: Builder) -> Result<Begun, Trouble> {
    let (sender, mut events) = builder.messages().connect().await?;
    let up = loop {
        match events.next().await {
            Some(messages::Event::Up(up)) => break up,
            Some(_) => {}
            None => return Err(ended()),
        }
    };
    tokio::spawn(async move { while events.next().await.is_some() {} });
    Ok(Begun {
        up,
        peer: None,
        session: Session::Plain(sender),
    })
}

fn ended() -> Trouble {
    Trouble::new(Exit::Peer, "the session ended before it was up")
}

/// Where the recording before this one goes.
fn before(path: &Path) -> PathBuf {
    let mut old = path.to_owned().into_os_string();
    old.push(".1");
    old.into()
}

/// A recording.
struct Tape {
    file: File,
    path: PathBuf,
    written: u64,
}

impl Tape {
    fn open(path: &Path) -> Result<Self, Trouble> {
        let failed = |error: io::Error| Trouble::usage(format!("{}: {error}", path.display()));
        // What an earlier run saw may be all that there is of a night.
        if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0) {
            std::fs::rename(path, before(path)).map_err(failed)?;
        }
        Ok(Self {
            file: File::create(path).map_err(failed)?,
            path: path.to_owned(),
            written: 0,
        })
    }

    fn write(&mut self, json: &str) -> Result<(), Trouble> {
        let failed = |error: io::Error| Trouble::new(Exit::Local, format!("{}: {error}", self.path.display()));
        if self.written > LONGEST {
            std::fs::rename(&self.path, before(&self.path)).map_err(failed)?;
            self.file = File::create(&self.path).map_err(failed)?;
            self.written = 0;
        }
        writeln!(self.file, "{json}").map_err(failed)?;
        self.written += json.len() as u64 + 1;
        Ok(())
    }
}
