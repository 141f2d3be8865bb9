//! `tower-ws config`.

mod schema;

use serde_json::Value;
use tower_ws::config::{Config, EXAMPLE, Secret};

use crate::{
    args::{ConfigArgs, ConfigCommand, SettingsArgs},
    exit::{Exit, Trouble},
    output::tell,
    settings::{self, Settings, VARIABLES},
};

pub(crate) fn run(args: ConfigArgs) -> Result<Exit, Trouble> {
    let told = match args.what {
        ConfigCommand::Check(args) => check(&args)?,
        ConfigCommand::Print(args) => printed(&Settings::load(args.url.as_deref(), &args.connection)?),
        ConfigCommand::Example => EXAMPLE.to_owned(),
        ConfigCommand::Schema => format!("{:#}", schema::schema()),
        ConfigCommand::Env => variables(),
    };
    tell(told.trim_end());
    Ok(Exit::Done)
}

/// Those of one address or profile, or else of all profiles that there are.
fn check(args: &SettingsArgs) -> Result<String, Trouble> {
    let chosen = args.url.as_ref().or(args.connection.profile.as_ref());
    let profiles = match chosen {
        None => Settings::profiles(&args.connection)?,
        Some(_) => Vec::new(),
    };
    if let (None, true, None) = (
        chosen,
        std::env::var_os("TOWER_WS__URL").is_none(),
        settings::file(&args.connection),
    ) {
        let place = settings::user_file().map(|path| path.display().to_string());
        let what = format!("there is nothing to check: {} is not there", place.unwrap_or_default());
        return Err(Trouble::usage(what).help("`tower-ws config example` writes one down"));
    }
    if chosen.is_some() {
        let Settings { config, .. } = Settings::load(args.url.as_deref(), &args.connection)?;
        // The files that they name, too. A builder wants a runtime only to connect.
        let _ = config.builder()?;
        return Ok("The settings are in order.".to_owned());
    }
    let mut wrong = Vec::new();
    for profile in profiles.iter().map(|name| Some(name.as_str())).chain([None]) {
        for problem in Settings::problems(profile, &args.connection)? {
            let told = match (&problem.place, profile) {
                (None, Some(profile)) => format!("profile `{profile}`: {problem}"),
                _ => problem.to_string(),
            };
            // What stands beside the profiles is wrong with each of them.
            if !wrong.contains(&told) {
                wrong.push(told);
            }
        }
    }
    match wrong.is_empty() {
        true if profiles.is_empty() => Ok("The settings are in order.".to_owned()),
        true => Ok(format!(
            "The settings are in order, with each profile: {}.",
            profiles.join(", ")
        )),
        false => Err(Trouble::usage(wrong.join("\n"))),
    }
}

/// A setting that somebody said.
pub(crate) struct Said {
    pub(crate) path: String,
    /// As TOML has it, without secrets.
    pub(crate) value: String,
    /// Where.
    pub(crate) place: String,
}

pub(crate) fn said(settings: &Settings) -> Vec<Said> {
    let values = serde_json::to_value(&settings.config).unwrap_or_default();
    let mut all = Vec::new();
    for (path, place) in &settings.places {
        let value = path.split('.').try_fold(&values, |value, name| value.get(name));
        let Some(value) = value.filter(|value| !value.is_object()) else {
            continue;
        };
        // Whatever stands in a header, or in the query of an address, may be a secret.
        let value = match path.as_str() {
            path if path.starts_with("headers.") => "…".to_owned(),
            "url" => written(&redacted(value)),
            "fallbacks" => written(&value.as_array().into_iter().flatten().map(redacted).collect()),
            // Its arguments may be secrets; the program is none.
            "auth.secret.command" => {
                let program = settings.config.auth.secret.as_ref().and_then(Secret::program);
                program.map(|program| written(&program.into())).unwrap_or_default()
            }
            _ => written(value),
        };
        all.push(Said {
            path: path.clone(),
            value,
            place: place.clone(),
        });
    }
    all
}

/// Each of them, a line.
fn printed(settings: &Settings) -> String {
    let lines = said(settings).into_iter();
    lines
        .map(|Said { path, value, place }| format!("{path} = {value}    # {place}\n"))
        .collect()
}

/// An address without its path, query and user; what is none stays as it is.
fn redacted(url: &Value) -> Value {
    let shown = url.as_str().filter(|url| url.contains("://")).map(|url| {
        let shown = tower_ws::connector::WsUrl::parse(url).map(|url| url.redacted().to_string());
        shown.unwrap_or_else(|_| "…".to_owned())
    });
    shown.map_or_else(|| url.clone(), Value::from)
}

fn written(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

/// The variables of all settings.
fn variables() -> String {
    let mut told = String::new();
    for (name, what) in VARIABLES {
        told += &format!("{name:<44}  {what}\n");
    }
    let all = serde_json::to_value(Config::default()).unwrap_or_default();
    name_all(&all, "TOWER_WS", &mut told);
    told
}

fn name_all(value: &Value, name: &str, told: &mut String) {
    match value {
        Value::Object(settings) if !settings.is_empty() => {
            for (field, value) in settings {
                name_all(value, &format!("{name}__{}", field.to_uppercase()), told);
            }
        }
        Value::Object(_) => *told += &format!("{name}__NAME\n"),
        Value::Null => *told += &format!("{name}\n"),
        value => *told += &format!("{name:<44}  by default {}\n", written(value)),
    }
}
