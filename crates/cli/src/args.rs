//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    exit::{Exit, Trouble},
    output::tell,
};

/// WebSocket servers: what is wrong with one, a call, a pipe, a bridge for MCP hosts.
#[derive(Parser)]
#[command(
    name = "tower-ws",
    version,
    propagate_version = true,
    after_help = "\
Exit codes: 0 done; 1 the server answered with an error; 2 usage or settings; 3 name or network; 4 TLS; 5 proxy; \
6 no WebSocket there; 7 credentials; 8 time is up; 9 the peer closed or broke the protocol; 10 forbidden on this side; \
11 outcome unknown: the call may have been executed; 12 throttled; 130, 143 interrupted."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Says what is wrong on the way to a server, whose fault it is, and what to do.
    Doctor(DoctorArgs),
    /// Makes one call, MCP or JSON-RPC: the answer alone on standard output.
    Call(CallArgs),
    /// Pipes lines to messages and back, through outages.
    Cat(CatArgs),
    /// Is an MCP server on standard input and output, backed by the one at URL.
    Bridge(BridgeArgs),
    /// Watches a connection.
    Monitor(MonitorArgs),
    /// Makes a page of what `monitor --record` has written.
    Report(ReportArgs),
    /// Checks and shows settings.
    Config(ConfigArgs),
    /// Writes completions for a shell.
    Completions(CompletionsArgs),
    /// Writes the manual page.
    Man,
}

/// Where to connect to, and how: the same for all commands. It stands last in each: what comes after it would be under its
/// heading.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Settings; by default tower-ws/config.toml in the user's folder of settings, if it is there
    #[arg(short, long, value_name = "FILE", env = "TOWER_WS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// One of the file's profiles
    #[arg(short, long, value_name = "NAME", env = "TOWER_WS_PROFILE")]
    pub(crate) profile: Option<String>,
    /// A header of the handshake, `Name: value`; for secrets there are the --token options
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// A file of headers, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) header_file: Option<PathBuf>,
    /// A bearer token: the contents of this file
    #[arg(long, value_name = "FILE", group = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The same, from this variable; by default TOWER_WS_TOKEN, if it is set
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_env: Option<String>,
    /// The same, as this program prints it: the program and its arguments, separated by commas
    #[arg(long, value_name = "COMMAND", group = "token")]
    pub(crate) token_command: Option<String>,
    /// A subprotocol to offer
    #[arg(short, long = "subprotocol", value_name = "NAME")]
    pub(crate) subprotocols: Vec<String>,
    /// `env`, `none` or a proxy's URL; by default what HTTPS_PROXY, ALL_PROXY and NO_PROXY say
    #[arg(long, value_name = "PROXY")]
    pub(crate) proxy: Option<String>,
    /// `system`, `mozilla` or a PEM file that is trusted besides; by default both lists
    #[arg(long, value_name = "ROOTS")]
    pub(crate) roots: Option<String>,
    /// A client certificate with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// How long a dial may take in all
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// What may be dialled: `operator`, `untrusted` or `unguarded`
    #[arg(long, value_name = "GUARD")]
    pub(crate) guard: Option<String>,
    /// Lets ws:// go to another machine
    #[arg(long)]
    pub(crate) allow_plaintext: bool,
    /// How long an outage may last before the program ends
    #[arg(long, value_name = "TIME")]
    pub(crate) max_outage: Option<String>,
    /// Any setting: section.field=VALUE
    #[arg(long = "set", value_name = "SETTING")]
    pub(crate) settings: Vec<String>,
    /// Logs less
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Logs more; twice for still more
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Logs into this file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct DoctorArgs {
    /// ws://…, wss://… or the name of a profile
    pub(crate) url: String,
    /// Is silent for so long at the end, to find who cuts idle connections
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) hold: Option<Duration>,
    /// Speaks MCP with it
    #[arg(long)]
    pub(crate) mcp: bool,
    /// Makes no further request when something fails
    #[arg(long, conflicts_with = "paths")]
    pub(crate) no_extra: bool,
    /// If there is no WebSocket at this path, asks for others, without any credential: /, /ws, /mcp, /message, and each
    /// part of this one
    #[arg(long)]
    pub(crate) paths: bool,
    /// Writes the server's certificates into this file, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) save_chain: Option<PathBuf>,
    /// Writes all that somebody who helps has to know into this file, in JSON and without secrets
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct CallArgs {
    /// ws://…, wss://… or the name of a profile
    pub(crate) url: String,
    /// The method, such as tools/list
    pub(crate) method: String,
    /// Its parameters in JSON, `@FILE`, or `-` for standard input
    pub(crate) params: Option<String>,
    /// Plain JSON-RPC rather than MCP
    #[arg(long)]
    pub(crate) json_rpc: bool,
    /// Tells the server, and waits for no answer
    #[arg(long)]
    pub(crate) notify: bool,
    /// Whether it may be sent again when the connection is lost before the answer; without this, what only reads may be
    #[arg(long, value_enum)]
    pub(crate) replay: Option<Replay>,
    /// How long the call may take, waiting included
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) call_timeout: Option<Duration>,
    /// In one line, also on a terminal
    #[arg(long)]
    pub(crate) compact: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct CatArgs {
    /// ws://…, wss://… or the name of a profile
    pub(crate) url: String,
    /// Sends lines as binary messages
    #[arg(long)]
    pub(crate) binary: bool,
    /// How messages are written, in and out
    #[arg(long, value_enum, default_value_t)]
    pub(crate) frames: Frames,
    /// A message that is said first on each connection, such as a subscription
    #[arg(long, value_name = "MESSAGE")]
    pub(crate) say: Vec<String>,
    /// After the end of standard input, goes on until the server has been silent for so long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    pub(crate) wait: Duration,
    /// Ends after so many messages from the server
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct BridgeArgs {
    /// ws://…, wss://… or the name of a profile
    pub(crate) url: String,
    /// What the host is told while the server is not there
    #[arg(long, value_enum, default_value_t)]
    pub(crate) start: Start,
    /// How long a call may go without an answer and without progress
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "55s")]
    pub(crate) call_timeout: Duration,
    /// Ends when the session has ended for good, for hosts that start it again
    #[arg(long)]
    pub(crate) exit_on_final: bool,
    /// Prints what belongs into the settings of this host, and ends
    #[arg(long, value_enum, value_name = "HOST")]
    pub(crate) print_config: Option<Host>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct MonitorArgs {
    /// ws://…, wss://… or the name of a profile
    pub(crate) url: String,
    /// Speaks MCP with it
    #[arg(long)]
    pub(crate) mcp: bool,
    /// Ends after so long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) length: Option<Duration>,
    /// Writes each second and each event down, as JSON, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Writes lines, also where a screen could be drawn
    #[arg(long)]
    pub(crate) plain: bool,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// What `monitor --record` has written
    pub(crate) record: PathBuf,
    /// Where the page goes; by default standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) what: ConfigCommand,
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says all that is wrong with them: of one profile or address, or else of all profiles
    Check(SettingsArgs),
    /// Shows each one that is no default, and where it was said
    Print(SettingsArgs),
    /// Writes an example file of all settings, at their defaults
    Example,
    /// Writes a JSON schema of them, for editors
    Schema,
    /// Writes the names of all variables
    Env,
}

#[derive(clap::Args)]
pub(crate) struct SettingsArgs {
    /// ws://…, wss://… or the name of a profile, unless the file says where
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    pub(crate) shell: Shell,
}

#[derive(clap::Args)]
pub(crate) struct Form {
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Form {
    pub(crate) fn output(&self) -> Output {
        match self.json {
            true => Output::Json,
            false => self.output,
        }
    }
}

/// In what form something is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Frames {
    /// A line for each; of a message that has line breaks they are written as spaces
    #[default]
    Lines,
    /// A JSON object a line: {"text": …} or, in base64, {"binary": …}
    Json,
    /// Four bytes that say how long it is, the highest first, and then the message as it is
    Length,
}

/// Whether the server may see a call twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Replay {
    /// It does no harm
    Safe,
    /// It must not: then nobody knows whether it was executed
    Never,
}

/// What a host is told while the server is not there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Start {
    /// Nothing: it waits
    Wait,
    /// What the server said of itself the last time; if it never did, an error
    #[default]
    Remember,
    /// An error
    Fail,
}

/// A program that starts MCP servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Host {
    /// Claude Desktop
    Claude,
    /// Claude Code
    Code,
    Codex,
    Vscode,
    Cursor,
    Zed,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Trouble> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "tower-ws", &mut text);
    tell(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Done)
}

pub(crate) fn man() -> Result<Exit, Trouble> {
    let page = clap_mangen::Man::new(Args::command());
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|error| Trouble::new(Exit::Local, format!("the page could not be made: {error}")))?;
    tell(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Done)
}
