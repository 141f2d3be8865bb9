//! `tower-ws call`.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tower_ws::{
    CallError, Request,
    config::Config,
    core::{self, Failure, find},
    mcp::McpError,
};
use tracing::level_filters::LevelFilter;

use crate::{
    args::{CallArgs, Replay},
    cat::frame::in_one_line,
    exit::{Exit, Trouble},
    log,
    output::{Lines, remark},
    pretty::pretty,
    settings::{Settings, me, read},
};

pub(crate) async fn run(args: CallArgs) -> Result<Exit, Trouble> {
    // What it says at the end is all that there is to say.
    log::begin(&args.connection, LevelFilter::OFF)?;
    let Settings { mut config, .. } = Settings::load(Some(&args.url), &args.connection)?;
    // Somebody waits at a prompt: a server that is not there is told of at once.
    config.reconnect.fail_fast = true;
    if let Some(limit) = args.call_timeout {
        config.client.timeout = limit;
    }
    let mut request = Request::new(args.method.clone()).replay(match args.replay {
        None => core::Replay::Unknown,
        Some(Replay::Safe) => core::Replay::Safe,
        Some(Replay::Never) => core::Replay::Unsafe,
    });
    if let Some(params) = params(args.params.as_deref()).await? {
        request = request.raw_params(&params);
    }
    let deadline = Deadline::new(config.client.timeout);
    let answer = match args.json_rpc {
        true => json_rpc(&config, request, args.notify, deadline).await?,
        false => mcp(&config, request, args.notify, deadline).await?,
    };
    let Some(answer) = answer else {
        return Ok(Exit::Done);
    };
    let output = Lines::begin();
    output
        .tell(match !args.compact && io::stdout().is_terminal() {
            true => pretty(answer.get()),
            false => in_one_line(answer.get()),
        })
        .await;
    output.finish().await;
    Ok(match !args.json_rpc && says_that_it_failed(&answer) {
        true => Exit::Answered,
        false => Exit::Done,
    })
}

/// Until when all of it has to be done.
#[derive(Clone, Copy)]
struct Deadline {
    limit: Duration,
    began: Instant,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            began: Instant::now(),
        }
    }

    /// Connects within it.
    async fn connect<T>(
        self,
        connecting: impl Future<Output = Result<T, tower_ws::ConnectError>>,
    ) -> Result<T, Trouble> {
        match timeout(self.limit, connecting).await {
            Ok(connected) => Ok(connected?),
            Err(_) => {
                let trouble = Trouble::new(Exit::Time, format!("no connection within {:?}", self.limit));
                Err(trouble.help("`tower-ws doctor` with the same address says what it waits for"))
            }
        }
    }

    /// To the millisecond: it is told.
    fn left(self) -> Duration {
        let left = self.limit.saturating_sub(self.began.elapsed());
        Duration::from_millis(left.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// A tool of MCP that failed says so in its result.
fn says_that_it_failed(answer: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct ToolResult {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<ToolResult>(answer.get()).is_ok_and(|result| result.is_error)
}

async fn json_rpc(
    config: &Config,
    request: Request,
    notify: bool,
    deadline: Deadline,
) -> Result<Option<Box<RawValue>>, Trouble> {
    let (client, _inbound) = deadline.connect(config.builder()?.connect()).await?;
    let request = request.timeout(deadline.left());
    let answered = match notify {
        true => client.notify(request).await.map(|()| None),
        false => client
            .send(request)
            .await
            .and_then(|reply| Ok(Some(reply.raw_result()?.to_owned()))),
    };
    let answered = answered.map_err(|error| failed(&error));
    let _ = timeout(2 * GRACE, client.close(GRACE)).await;
    answered
}

async fn mcp(
    config: &Config,
    request: Request,
    notify: bool,
    deadline: Deadline,
) -> Result<Option<Box<RawValue>>, Trouble> {
    let connected = deadline.connect(config.mcp(me())?.connect()).await;
    let (mcp, _inbound) = connected.map_err(|trouble| match trouble.exit {
        // It may be there, and speak something else.
        Exit::Time | Exit::NoWebSocket | Exit::Peer => trouble.help(
            "`tower-ws doctor --mcp` with the same address says where it fails; --json-rpc calls a server that speaks no MCP",
        ),
        _ => trouble,
    })?;
    let request = request.timeout(deadline.left());
    let answered = match notify {
        true => mcp.notify(request).await.map(|()| None),
        // On a terminal somebody likes to see how far it has come.
        false if io::stderr().is_terminal() => tracked(&mcp, request, deadline.left()).await.map(Some),
        false => {
            let reply = mcp.reply(request).await;
            reply.and_then(|reply| Ok(Some(reply.raw_result().map_err(McpError::from)?.to_owned())))
        }
    };
    let answered = answered.map_err(|error| match &error {
        McpError::Call(error) => failed(error),
        other => Trouble::new(Exit::Answered, other.to_string()).because(other),
    });
    let _ = timeout(2 * GRACE, mcp.close(GRACE)).await;
    answered
}

/// How long what is under way may take at the end, and the goodbye after it: nobody waits for a server that answers
/// neither.
const GRACE: Duration = Duration::from_secs(1);

async fn tracked(mcp: &tower_ws::mcp::Mcp, request: Request, idle: Duration) -> Result<Box<RawValue>, McpError> {
    let tracked = mcp.track(request).await?.idle(idle);
    let mut reports = tracked.reports();
    let result = tracked.result::<Box<RawValue>>();
    tokio::pin!(result);
    loop {
        tokio::select! {
            result = &mut result => return result,
            Some(progress) = reports.next() => {
                let of = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let message = progress.message.unwrap_or_default();
                remark(&format!("  {}{of}  {}", progress.progress, message.escape_debug()));
            }
        }
    }
}

/// Parameters, checked before anything is dialled.
async fn params(said: Option<&str>) -> Result<Option<Box<RawValue>>, Trouble> {
    let text = match said {
        None => return Ok(None),
        // It may take for ever, in which a signal is to be heard.
        Some("-") => spawn_blocking(|| io::read_to_string(io::stdin()))
            .await
            .map_err(io::Error::other)
            .and_then(|read| read)
            .map_err(|error| Trouble::usage(format!("standard input: {error}")))?,
        Some(text) => match text.strip_prefix('@') {
            Some(path) => read(path.as_ref())?,
            None => text.to_owned(),
        },
    };
    let params: Box<RawValue> = serde_json::from_str(text.trim()).map_err(|error| {
        let trouble = Trouble::usage(format!("the parameters are no JSON: {error}"));
        trouble.help("as in '{\"name\":\"add\",\"arguments\":{\"a\":1}}'")
    })?;
    match params.get().as_bytes().first() {
        Some(b'{' | b'[') => Ok(Some(params)),
        _ => Err(Trouble::usage("the parameters are an object or a list")),
    }
}

fn failed(error: &CallError) -> Trouble {
    match error {
        CallError::Rpc(error) => {
            let told = serde_json::to_string(error).unwrap_or_else(|_| error.to_string());
            Trouble::new(Exit::Answered, format!("the server answered with an error: {told}"))
        }
        _ if error.may_have_been_seen() => {
            let trouble = Trouble::new(Exit::Unknown, error.to_string()).because(error);
            trouble.help("the server may have acted on it: find out before you call again")
        }
        CallError::TimedOut { .. } => Trouble::new(Exit::Time, error.to_string()).because(error),
        CallError::Params(_) | CallError::Refused(_) => Trouble::usage(error.to_string()).because(error),
        _ => {
            let exit = find::<Failure>(error).map_or(Exit::Local, Exit::from);
            Trouble::new(exit, error.to_string()).because(error)
        }
    }
}
