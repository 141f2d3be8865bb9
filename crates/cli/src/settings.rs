//! From the command line, the environment and a file to the library's settings: an option counts over a variable, that
//! over a profile, that over the rest of the file, that over the defaults.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use tower_ws::{
    config::{Config, Problem, Sources},
    connector::tls::Tls,
    mcp::Implementation,
};

use crate::{
    args::Connection,
    exit::{TOKEN, Trouble},
};

/// Variables of the environment that this program reads, beside `TOWER_WS__SECTION__FIELD`.
pub(crate) const VARIABLES: [(&str, &str); 4] = [
    ("TOWER_WS_CONFIG", "the file of settings"),
    ("TOWER_WS_PROFILE", "one of its profiles"),
    ("TOWER_WS_TOKEN", "a bearer token"),
    ("TOWER_WS_LOG", "what is logged: error, warn, info, debug, trace or off"),
];

/// All settings, and where each was said that is no default.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) places: BTreeMap<String, String>,
}

impl Settings {
    /// Reads them; there has to be an address.
    pub(crate) fn load(to: Option<&str>, connection: &Connection) -> Result<Self, Trouble> {
        let (sources, url, profile) = Self::sources(to, connection)?;
        let (config, places) = sources.load_placed().map_err(|error| {
            let problems = error.problems();
            let is_no_profile = problems
                .iter()
                .any(|problem| problem.what.starts_with("there is no profile"));
            let trouble = Trouble::from(error);
            match (url, profile) {
                (None, Some(name)) if to.is_some() && is_no_profile => trouble.help(format!(
                    "an address begins with ws:// or wss://; `{name}` is taken for a profile"
                )),
                (None, None) => trouble.help("give an address, ws://… or wss://…, or the name of a profile"),
                _ => trouble,
            }
        })?;
        Ok(Self { config, places })
    }

    /// All that is wrong with those of this profile, or of none; where to need not be said there.
    pub(crate) fn problems(profile: Option<&str>, connection: &Connection) -> Result<Vec<Problem>, Trouble> {
        let connection = Connection {
            profile: profile.map(str::to_owned),
            ..connection.clone()
        };
        let (sources, ..) = Self::sources(None, &connection)?;
        // The files that they name, too. A builder wants a runtime only to connect.
        let Err(error) = sources.load().and_then(|config| config.builder()) else {
            return Ok(Vec::new());
        };
        let needs_none = |problem: &&Problem| profile.is_none() && problem.path == "url" && problem.place.is_none();
        let problems = error.problems().iter();
        Ok(problems.filter(|problem| !needs_none(problem)).cloned().collect())
    }

    /// The profiles that the file has.
    pub(crate) fn profiles(connection: &Connection) -> Result<Vec<String>, Trouble> {
        match file(connection) {
            Some(path) => Ok(Config::sources().file(path).profiles()?),
            None => Ok(Vec::new()),
        }
    }

    /// All of them in their order, and the address and the profile that were asked for.
    fn sources<'a>(
        to: Option<&'a str>,
        connection: &'a Connection,
    ) -> Result<(Sources, Option<&'a str>, Option<&'a str>), Trouble> {
        check_variables()?;
        let mut sources = Config::sources().setting("the default of this program", "connect.proxy", "env");
        // Whoever opens TLS on the way has an authority in the system's list.
        if Tls::new().with_platform_roots().is_ok() {
            sources = sources.setting("the default of this program", "connect.system_roots", "true");
        }
        if let Some(path) = file(connection) {
            sources = sources.file(path);
        }
        let chosen = connection.profile.as_deref().filter(|name| !name.is_empty());
        let (url, profile) = match to {
            // Not what it is: it may be an address with a password in it.
            Some(name) if !name.contains("://") && !is_name(name) => {
                let trouble = Trouble::usage("this is neither an address nor the name of a profile");
                return Err(trouble
                    .help("an address begins with ws:// or wss://, a name has letters, digits, `-`, `_` and `.`"));
            }
            Some(name) if !name.contains("://") && chosen.is_some() => {
                return Err(Trouble::usage(format!(
                    "`{name}` is a profile, and so is that of --profile: choose one"
                )));
            }
            Some(name) if !name.contains("://") && std::env::var_os("TOWER_WS__URL").is_some() => {
                let trouble = Trouble::usage(format!("TOWER_WS__URL says where, and so does the profile `{name}`"));
                return Err(trouble.help("unset the variable: a token of the profile must not go to another address"));
            }
            Some(url) if url.contains("://") => (Some(url), chosen),
            Some(name) => (None, Some(name)),
            None => (None, chosen),
        };
        if let Some(name) = profile {
            sources = sources.profile(name);
        }
        Ok((options(sources.env(), connection, url)?, url, profile))
    }
}

/// What a profile may be called on a command line.
fn is_name(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    !text.is_empty() && text.chars().all(is_letter)
}

/// What servers are told of this program.
pub(crate) fn me() -> Implementation {
    Implementation::new("tower-ws", env!("CARGO_PKG_VERSION"))
}

/// What the command line says.
fn options(mut sources: Sources, connection: &Connection, url: Option<&str>) -> Result<Sources, Trouble> {
    let token_is_set = std::env::var_os("TOWER_WS_TOKEN").is_some_and(|token| !token.is_empty());
    let texts = [
        ("the address", "url", url.map(str::to_owned)),
        (
            "TOWER_WS_TOKEN",
            "auth.secret.env",
            token_is_set.then(|| "TOWER_WS_TOKEN".to_owned()),
        ),
        ("--token-env", "auth.secret.env", connection.token_env.clone()),
        (
            "--token-file",
            "auth.secret.file",
            text(connection.token_file.as_deref())?,
        ),
        (
            "--token-command",
            "auth.secret.command",
            connection.token_command.clone(),
        ),
        ("--proxy", "connect.proxy", connection.proxy.clone()),
        ("--cert", "connect.client_cert", text(connection.cert.as_deref())?),
        ("--key", "connect.client_key", text(connection.key.as_deref())?),
        ("--timeout", "transport.timeout", connection.timeout.clone()),
        ("--guard", "connect.guard", connection.guard.clone()),
        ("--max-outage", "reconnect.max_outage", connection.max_outage.clone()),
        (
            "--allow-plaintext",
            "connect.allow_plaintext",
            connection.allow_plaintext.then(|| "true".to_owned()),
        ),
        (
            "--allow-plaintext",
            "auth.allow_plaintext",
            connection.allow_plaintext.then(|| "true".to_owned()),
        ),
    ];
    for (place, path, value) in texts {
        if let Some(value) = value {
            sources = sources.setting(place, path, value);
        }
    }
    if !connection.subprotocols.is_empty() {
        sources = sources.setting("-s", "transport.subprotocols", connection.subprotocols.join(","));
    }
    sources = match connection.roots.as_deref() {
        None => sources,
        Some("system") => sources.setting("--roots", "connect.system_roots", "true"),
        Some("mozilla") => sources.setting("--roots", "connect.system_roots", "false"),
        Some(path) => sources.setting("--roots", "connect.roots", path),
    };
    let mut headers: Vec<_> = connection
        .headers
        .iter()
        .map(|line| ("-H".to_owned(), line.clone()))
        .collect();
    if let Some(path) = &connection.header_file {
        let place = path.display().to_string();
        let text = read(path)?;
        headers.extend(
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| (place.clone(), line.to_owned())),
        );
    }
    for (place, line) in headers {
        // Not the line: it may be a secret.
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Trouble::usage(format!("{place}: a header is `Name: value`")))?;
        let name = name.trim().to_ascii_lowercase();
        if ["authorization", "cookie", "proxy-authorization"].contains(&&*name) && place == "-H" {
            let trouble = Trouble::usage(format!(
                "-H: everybody on this machine can read `{name}` on a command line"
            ));
            return Err(trouble.help(TOKEN));
        }
        sources = sources.setting(place, format!("headers.{name}"), value.trim());
    }
    for setting in &connection.settings {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| Trouble::usage("--set: a setting is `section.field=VALUE`"))?;
        sources = sources.setting("--set", path, value);
    }
    Ok(sources)
}

/// The file of settings: the one that was named, or the user's, if it is there. None of the working directory: a folder
/// that somebody else has made must not choose where a token goes.
pub(crate) fn file(connection: &Connection) -> Option<PathBuf> {
    let named = connection.config.as_ref().filter(|path| !path.as_os_str().is_empty());
    named.cloned().or_else(|| user_file().filter(|path| path.exists()))
}

/// Where the user's settings are.
pub(crate) fn user_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("tower-ws").join("config.toml"))
}

/// Names that nobody reads are errors: somebody meant them.
fn check_variables() -> Result<(), Trouble> {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("TOWER_WS_")) else {
            continue;
        };
        let known = VARIABLES.iter().any(|(known, _)| *known == name);
        if !known && !name.starts_with("TOWER_WS__") && !name.starts_with("TOWER_WS_TEST_") {
            let names: Vec<_> = VARIABLES.iter().map(|(name, _)| *name).collect();
            let trouble = Trouble::usage(format!("there is no variable {name}"));
            return Err(trouble.help(format!(
                "there are {}, and TOWER_WS__SECTION__FIELD for each setting: `tower-ws config env`",
                names.join(", ")
            )));
        }
    }
    Ok(())
}

fn text(path: Option<&Path>) -> Result<Option<String>, Trouble> {
    let Some(path) = path else { return Ok(None) };
    match path.to_str() {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Trouble::usage(format!(
            "{}: a path has to be UTF-8 here",
            path.display()
        ))),
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Trouble> {
    fs::read_to_string(path).map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))
}
