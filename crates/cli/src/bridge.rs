//! `tower-ws bridge`: the wires of a [`Desk`], which decides.

mod calls;
mod desk;
mod host;
mod memory;
mod message;

use std::{collections::VecDeque, future::pending, pin::pin, time::Duration};

use serde_json::value::RawValue;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tower_ws::{config::Config, mcp::relay::Relay};
use tracing::level_filters::LevelFilter;

use self::{
    desk::{Desk, Step},
    memory::Memory,
};
use crate::{
    args::BridgeArgs,
    cat::frame::in_one_line,
    doctor,
    exit::{Exit, Trouble},
    input, log,
    output::Lines,
    settings::{Settings, me},
};

/// How long a goodbye may take: hosts kill after two seconds.
const GRACE: Duration = Duration::from_millis(1500);

/// How many messages wait for the host, before what comes from the server does.
const ROOM: usize = 256;

/// How often it is looked whether whoever started this is there.
const PARENT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: BridgeArgs) -> Result<Exit, Trouble> {
    if let Some(host) = args.print_config {
        return host::print(host, &args.url, &args.connection);
    }
    log::begin(&args.connection, LevelFilter::WARN)?;
    let Settings { config, .. } = Settings::load(Some(&args.url), &args.connection)?;
    // What is wrong with the settings is told now, rather than to the first request.
    let relay = relay(&config)?;
    let memory = Memory::of(&config);
    let desk = Desk::new(args.start, args.call_timeout, memory.recall());
    Bridge {
        config,
        memory,
        desk,
        relay: Some(relay),
        exit_on_final: args.exit_on_final,
    }
    .run()
    .await
}

fn relay(config: &Config) -> Result<Relay, Trouble> {
    Ok(config.mcp(me())?.relay())
}

struct Bridge {
    config: Config,
    memory: Memory,
    desk: Desk,
    /// None once the session has ended for good.
    relay: Option<Relay>,
    exit_on_final: bool,
}

/// What happened.
enum News {
    FromHost(Option<std::io::Result<Vec<u8>>>),
    FromServer(Option<String>),
    /// The server has taken what was to be sent to it, or never will.
    Sent,
    /// The same of a call whose time is up.
    Ended,
    /// The host was told, if it reads.
    Told(bool),
    Time,
    /// What the doctor says of a server that does not answer.
    Verdict(String),
    HostGone,
}

impl Bridge {
    async fn run(mut self) -> Result<Exit, Trouble> {
        let mut host = input::lines();
        let to_host = Lines::begin();
        let mut told = VecDeque::new();
        let mut over = VecDeque::<(Box<RawValue>, Duration)>::new();
        let mut parent = interval(PARENT);
        let first_parent = parent_id();
        let mut goodbye = pin!(crate::interrupted());
        let mut verdict = pin!(verdict(self.config.clone()));
        let mut is_examined = false;
        let exit = loop {
            let now = Instant::now();
            while let Some(step) = self.desk.next(now) {
                match step {
                    Step::Tell(text) => told.push_back(in_one_line(&text)),
                    Step::Remember(memory) => self.memory.keep(&memory),
                    Step::TimeIsUp(id, limit) => over.push_back((id, limit)),
                    // Whoever asks again may find it mended.
                    Step::Reopen => match relay(&self.config) {
                        Ok(relay) => self.relay = Some(relay),
                        Err(trouble) => {
                            self.desk.on_verdict(trouble.to_string());
                            self.desk.on_end(now);
                        }
                    },
                }
            }
            if self.relay.is_none() && self.exit_on_final && told.is_empty() && self.desk.is_settled() {
                break self.class().await;
            }
            let news = {
                let (relay, desk) = (&mut self.relay, &self.desk);
                let sending = match (&*relay, desk.to_server()) {
                    (Some(relay), Some(text)) => Some(relay.send(text.to_owned())),
                    _ => None,
                };
                let ending = match (&*relay, over.front()) {
                    (Some(relay), Some((id, limit))) => Some(relay.time_is_up(id.clone(), *limit)),
                    _ => None,
                };
                let hearing = relay.as_mut().map(Relay::recv);
                let wakes = desk.wakes();
                tokio::select! {
                    _ = &mut goodbye => News::HostGone,
                    line = host.recv(), if !desk.is_full() && told.len() < 4 * ROOM => News::FromHost(line),
                    _ = done(sending) => News::Sent,
                    _ = done(ending) => News::Ended,
                    text = done(hearing), if told.len() < ROOM => News::FromServer(text),
                    room = to_host.room(), if !told.is_empty() => {
                        News::Told(room.tell(told.pop_front().unwrap_or_default()))
                    }
                    () = sleep_until(wakes.unwrap_or(now)), if wakes.is_some() => News::Time,
                    why = &mut verdict, if !is_examined && desk.is_waited_for() => News::Verdict(why),
                    _ = parent.tick() => match parent_id() == first_parent {
                        true => News::Time,
                        false => News::HostGone,
                    },
                }
            };
            let now = Instant::now();
            match news {
                News::FromHost(Some(Ok(line))) => self.desk.on_host(&line, now),
                News::FromHost(Some(Err(error))) if input::is_over_by_itself(&error) => self.desk.on_unreadable(),
                News::FromHost(_) | News::HostGone | News::Told(false) => break Exit::Done,
                News::FromServer(Some(text)) => self.desk.on_server(text, now),
                News::FromServer(None) => {
                    self.relay = None;
                    over.clear();
                    self.desk.on_end(now);
                }
                News::Sent => self.desk.on_sent(),
                News::Ended => drop(over.pop_front()),
                News::Verdict(why) => {
                    is_examined = true;
                    self.desk.on_verdict(why);
                }
                News::Told(true) | News::Time => {}
            }
        };
        self.leave(exit).await
    }

    /// Of what is wrong with the server: one more look.
    async fn class(&self) -> Exit {
        match self.config.mcp(me()) {
            Ok(builder) => builder.examine().await.failure().map_or(Exit::Peer, doctor::class),
            Err(_) => Exit::Usage,
        }
    }

    async fn leave(mut self, exit: Exit) -> Result<Exit, Trouble> {
        if let Some(relay) = &mut self.relay {
            // What is still under way is left: nobody is there to be told.
            let _ = timeout(GRACE, relay.close()).await;
        }
        Ok(exit)
    }
}

/// For ever, if there is nothing to do.
async fn done<T>(doing: Option<impl Future<Output = T>>) -> T {
    match doing {
        Some(doing) => doing.await,
        None => pending().await,
    }
}

/// What the doctor says, once it has taken long enough to ask, and before the host gives up.
async fn verdict(mut config: Config) -> String {
    sleep(Duration::from_secs(2)).await;
    let limit = Duration::from_secs(4);
    config.transport.timeout = config.transport.timeout.min(limit);
    let Ok(builder) = config.mcp(me()) else {
        return String::new();
    };
    let report = builder.opening_timeout(limit).examine().await;
    report.failure().map_or_else(String::new, |step| step.text.clone())
}

#[cfg(unix)]
fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent_id() -> u32 {
    0
}
