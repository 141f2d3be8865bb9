//! `tower-ws call`.

use std::io::{self, IsTerminal, Read};

use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use tower_ws::{
    CallError, Request,
    config::Config,
    core::{Failure, find},
    mcp::McpError,
};
use tracing::level_filters::LevelFilter;

use crate::{
    args::CallArgs,
    exit::{Exit, Trouble},
    log,
    output::{remark, tell},
    settings::{Settings, me, read},
};

pub(crate) async fn run(args: CallArgs) -> Result<Exit, Trouble> {
    log::begin(&args.connection, LevelFilter::WARN)?;
    let Settings { mut config, .. } = Settings::load(Some(&args.url), &args.connection)?;
    // Somebody waits at a prompt: a server that is not there is told of at once.
    config.reconnect.fail_fast = true;
    if let Some(limit) = args.call_timeout {
        config.client.timeout = limit;
    }
    let mut request = Request::new(args.method.clone());
    if let Some(params) = params(args.params.as_deref())? {
        request = request.raw_params(&params);
    }
    let answer = match args.json_rpc {
        true => json_rpc(&config, request, args.notify).await?,
        false => mcp(&config, request, args.notify).await?,
    };
    let Some(answer) = answer else {
        return Ok(Exit::Done);
    };
    print(&answer, !args.compact && io::stdout().is_terminal());
    Ok(match !args.json_rpc && says_that_it_failed(&answer) {
        true => Exit::Answered,
        false => Exit::Done,
    })
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

async fn json_rpc(config: &Config, request: Request, notify: bool) -> Result<Option<Box<RawValue>>, Trouble> {
    let (client, _inbound) = config.builder()?.connect().await?;
    let answered = match notify {
        true => client.notify(request).await.map(|()| None),
        false => client
            .send(request)
            .await
            .and_then(|reply| Ok(Some(reply.raw_result()?.to_owned()))),
    };
    let answered = answered.map_err(|error| failed(&error));
    client.close(GRACE).await;
    answered
}

async fn mcp(config: &Config, request: Request, notify: bool) -> Result<Option<Box<RawValue>>, Trouble> {
    let (mcp, _inbound) = config.mcp(me())?.connect().await?;
    let answered = match notify {
        true => mcp.notify(request).await.map(|()| None),
        // On a terminal somebody likes to see how far it has come.
        false if io::stderr().is_terminal() => tracked(&mcp, request, config.client.timeout).await.map(Some),
        false => {
            let reply = mcp.reply(request).await;
            reply.and_then(|reply| Ok(Some(reply.raw_result().map_err(McpError::from)?.to_owned())))
        }
    };
    let answered = answered.map_err(|error| match &error {
        McpError::Call(error) => failed(error),
        other => Trouble::new(Exit::Answered, other.to_string()).because(other),
    });
    mcp.close(GRACE).await;
    answered
}

/// How long a goodbye may take.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

async fn tracked(
    mcp: &tower_ws::mcp::Mcp,
    request: Request,
    idle: std::time::Duration,
) -> Result<Box<RawValue>, McpError> {
    let tracked = mcp.track(request).await?.idle(idle);
    let mut reports = tracked.reports();
    let result = tracked.result::<Value>();
    tokio::pin!(result);
    let value = loop {
        tokio::select! {
            result = &mut result => break result?,
            Some(progress) = reports.next() => {
                let of = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let message = progress.message.unwrap_or_default();
                remark(&format!("  {}{of}  {}", progress.progress, message.escape_debug()));
            }
        }
    };
    // It was read as JSON.
    to_raw_value(&value).map_err(|error| CallError::Params(error).into())
}

/// Parameters, checked before anything is dialled.
fn params(said: Option<&str>) -> Result<Option<Box<RawValue>>, Trouble> {
    let text = match said {
        None => return Ok(None),
        Some("-") => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Trouble::usage(format!("standard input: {error}")))?;
            text
        }
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

/// The answer alone.
fn print(answer: &RawValue, pretty: bool) {
    let text = match pretty {
        true => serde_json::from_str::<Value>(answer.get())
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or_else(|_| answer.get().to_owned()),
        false => answer.get().to_owned(),
    };
    tell(&text);
}
