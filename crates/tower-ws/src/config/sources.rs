use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::{
    check::check,
    error::{ConfigError, Problem},
    secret,
    settings::Config,
};

/// Where settings come from, the weakest first. Made by [`Config::sources`]. Its `Debug` tells how many there are, and
/// nothing of what they say.
#[derive(Default)]
#[must_use = "nothing is read before `load`"]
pub struct Sources {
    sources: Vec<Source>,
    profile: Option<String>,
}

enum Source {
    File(PathBuf),
    Toml(String),
    Json(String),
    Vars(Vec<(String, String)>),
    Setting { place: String, path: String, value: String },
}

/// What the variables begin with. `TOWER_WS_TEST_` is reserved for tests of this project.
const PREFIX: &str = "TOWER_WS__";

impl Config {
    /// From nothing but what is given here.
    pub fn sources() -> Sources {
        Sources::default()
    }
}

impl Sources {
    /// A file, whose name ends in `.toml` or `.json`. It has to be there.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(Source::File(path.into()));
        self
    }

    /// A text in TOML.
    pub fn toml(mut self, text: impl Into<String>) -> Self {
        self.sources.push(Source::Toml(text.into()));
        self
    }

    /// A text in JSON.
    pub fn json(mut self, text: impl Into<String>) -> Self {
        self.sources.push(Source::Json(text.into()));
        self
    }

    /// The variables `TOWER_WS__SECTION__FIELD` of this process, as they are now.
    pub fn env(self) -> Self {
        let vars =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        self.vars(vars)
    }

    /// The same, from others. What does not begin so is no setting.
    pub fn vars(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = vars.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        self.sources.push(Source::Vars(ours.collect()));
        self
    }

    /// One setting, `section.field`, in the words that a variable would have: what an option of a program says. `place`
    /// is what problems call it, as in `--timeout`.
    pub fn setting(mut self, place: impl Into<String>, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.sources.push(Source::Setting {
            place: place.into(),
            path: path.into(),
            value: value.into(),
        });
        self
    }

    /// Chooses a profile: in each file or text that has `[profiles.NAME]`, what stands there counts over the rest of it.
    /// Default: none, and profiles are passed over.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// The names of the profiles that there are: to be chosen from, or to check each of them.
    ///
    /// # Errors
    ///
    /// What cannot be read. Nothing else is checked. Files are read here, and block.
    pub fn profiles(self) -> Result<Vec<String>, ConfigError> {
        let known = serde_json::to_value(Config::default()).unwrap_or_default();
        Ok(self.read(&known)?.profiles.into_iter().collect())
    }

    /// Reads and checks all of it.
    ///
    /// # Errors
    ///
    /// All that is wrong. Files are read here, and block.
    pub fn load(self) -> Result<Config, ConfigError> {
        self.load_placed().map(|(config, _)| config)
    }

    /// The same, and where each setting was said that is no default: a file and a line, a variable.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_placed(self) -> Result<(Config, BTreeMap<String, String>), ConfigError> {
        let known = serde_json::to_value(Config::default()).unwrap_or_default();
        let tree = self.read(&known)?;
        let mut problems: Vec<_> = tree.no_profile().into_iter().collect();
        let is_chosen = problems.is_empty();
        unknown(&tree.values, &known, "", &mut problems);
        let config: Config = match serde_path_to_error::deserialize(Value::Object(tree.values)) {
            Ok(config) => config,
            Err(error) => {
                let problem = of_type(error.path().to_string(), error.inner());
                return Err(placed(vec![problem], &tree.places));
            }
        };
        // Where to go it may say, if there is such a profile.
        let wrong = check(&config).into_iter();
        problems.extend(wrong.filter(|problem| is_chosen || problem.path != "url" || !config.url.is_empty()));
        match problems.is_empty() {
            true => Ok((config, tree.places)),
            false => Err(placed(problems, &tree.places)),
        }
    }

    /// What they say, put together and not checked.
    fn read(self, known: &Value) -> Result<Tree, ConfigError> {
        let mut tree = Tree {
            profile: self.profile,
            ..Tree::default()
        };
        for source in self.sources {
            let read = match source {
                Source::File(path) => tree.file(&path),
                Source::Toml(text) => tree.toml("toml", &text),
                Source::Json(text) => tree.json("json", &text),
                Source::Vars(vars) => {
                    tree.vars(vars, known);
                    Ok(())
                }
                Source::Setting { place, path, value } => {
                    let said = tree.setting(place, split(&path), value, known);
                    tree.lay_over(said);
                    Ok(())
                }
            };
            read.map_err(|problem| ConfigError::new(vec![problem]))?;
        }
        Ok(tree)
    }
}

/// A value of the wrong type; it is shown, unless it may be a secret that somebody wrote where none belongs.
fn of_type(path: String, error: &serde_json::Error) -> Problem {
    match path.split('.').next() {
        Some("auth") if path.starts_with("auth.secret") => Problem::new(path, secret::INSTEAD),
        Some("headers") => Problem::new(path, "the value of a header is a text"),
        _ => Problem::new(path, error.to_string()),
    }
}

fn placed(mut problems: Vec<Problem>, places: &BTreeMap<String, String>) -> ConfigError {
    for problem in &mut problems {
        // An element of a list is where the list is.
        let path = problem.path.split('[').next().unwrap_or_default();
        problem.place = places.get(path).cloned();
    }
    ConfigError::new(problems)
}

/// Names that no setting has.
fn unknown(said: &Map<String, Value>, known: &Value, at: &str, problems: &mut Vec<Problem>) {
    // A table that is empty by default takes any name.
    let Some(known) = known.as_object().filter(|known| !known.is_empty()) else {
        return;
    };
    for (name, value) in said {
        let path = joined(at, name);
        match (known.get(name), value) {
            (Some(known), Value::Object(said)) => unknown(said, known, &path, problems),
            (Some(_), _) => {}
            (None, _) => {
                let nearest = known
                    .keys()
                    .min_by_key(|known| strsim::damerau_levenshtein(known, name));
                let near = nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 1 + name.len() / 3);
                let problem = Problem::new(path, "there is no such setting");
                problems.push(match near {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => {
                        let names: Vec<_> = known.keys().map(String::as_str).collect();
                        problem.help(format!("there are {}", names.join(", ")))
                    }
                });
            }
        }
    }
}

/// The names in a path; that of a header may have dots.
fn split(path: &str) -> Vec<String> {
    match path.split_once('.') {
        Some(("headers", name)) => vec!["headers".to_owned(), name.to_owned()],
        _ => path.split('.').map(str::to_owned).collect(),
    }
}

fn joined(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

/// What the sources say, put together, and where each was said.
#[derive(Default)]
struct Tree {
    values: Map<String, Value>,
    places: BTreeMap<String, String>,
    profile: Option<String>,
    /// The names of the profiles that there are.
    profiles: BTreeSet<String>,
}

impl Tree {
    fn file(&mut self, path: &Path) -> Result<(), Problem> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Problem::new("", format!("{name}: {error}")))?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => self.toml(&name, &text),
            Some("json") => self.json(&name, &text),
            _ => Err(Problem::new(
                "",
                format!("{name}: the name has to end in .toml or .json"),
            )),
        }
    }

    fn toml(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let line = |at: usize| {
            text.as_bytes()[..at.min(text.len())]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1
        };
        let table = DeTable::parse(text).map_err(|error| {
            let mut problem = Problem::new("", error.message());
            problem.place = error.span().map(|span| format!("{name}:{}", line(span.start)));
            problem
        })?;
        let values = self.table(table.into_inner(), "", &|at| format!("{name}:{}", line(at)));
        self.lay_over_file(values);
        Ok(())
    }

    fn table(&mut self, table: DeTable<'_>, at: &str, place: &dyn Fn(usize) -> String) -> Map<String, Value> {
        let entries = table.into_iter().map(|(key, value)| {
            let path = joined(at, key.get_ref());
            self.places.insert(path.clone(), place(key.span().start));
            let name = key.into_inner().into_owned();
            (name, self.value(value.into_inner(), &path, place))
        });
        entries.collect()
    }

    fn value(&mut self, value: DeValue<'_>, at: &str, place: &dyn Fn(usize) -> String) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => Value::String(number.to_string()),
            },
            DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
            DeValue::Boolean(flag) => flag.into(),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| self.value(item.into_inner(), at, place))
                .collect(),
            DeValue::Table(table) => Value::Object(self.table(table, at, place)),
        }
    }

    fn json(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let values: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            let mut problem = Problem::new("", error.to_string());
            problem.place = Some(format!("{name}:{}", error.line()));
            problem
        })?;
        place_all(&values, "", &mut |path| {
            self.places.insert(path, name.to_owned());
        });
        self.lay_over_file(values);
        Ok(())
    }

    fn vars(&mut self, mut vars: Vec<(String, String)>, known: &Value) {
        // The environment has no order.
        vars.sort();
        let mut values = Map::new();
        for (name, value) in vars {
            let mut path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
            if path.len() == 2 && path[0] == "headers" {
                path[1] = path[1].replace('_', "-");
            }
            let said = self.setting(name, path, value, known);
            merge(&mut values, said);
        }
        self.lay_over(values);
    }

    /// A setting whose value is written as a text.
    fn setting(&mut self, place: String, path: Vec<String>, value: String, known: &Value) -> Map<String, Value> {
        self.places.insert(path.join("."), place);
        let is_list = path
            .iter()
            .try_fold(known, |known, name| known.get(name))
            .is_some_and(Value::is_array)
            || path.ends_with(&["secret".to_owned(), "command".to_owned()]);
        let value = match is_list {
            true => value
                .split(',')
                .filter(|item| !item.is_empty())
                .map(|item| Value::from(item.trim()))
                .collect(),
            false => Value::String(value),
        };
        let mut path = path.into_iter().rev();
        let last = path.next().unwrap_or_default();
        path.fold(Map::from_iter([(last, value)]), |said, name| {
            Map::from_iter([(name, Value::Object(said))])
        })
    }

    /// What a file says, and then what its profile says.
    fn lay_over_file(&mut self, mut values: Map<String, Value>) {
        let profiles = match values.remove("profiles") {
            Some(Value::Object(profiles)) => profiles,
            _ => Map::new(),
        };
        self.lay_over(values);
        for (name, profile) in profiles {
            let within = format!("profiles.{name}.");
            if let (true, Value::Object(profile)) = (self.profile.as_ref() == Some(&name), profile) {
                let said: Vec<_> = self
                    .places
                    .iter()
                    .filter_map(|(path, place)| Some((path.strip_prefix(&within)?.to_owned(), place.clone())))
                    .collect();
                self.places.extend(said);
                self.lay_over(profile);
            }
            self.profiles.insert(name);
        }
        self.places.retain(|path, _| !path.starts_with("profiles"));
    }

    /// That the profile is in no source.
    fn no_profile(&self) -> Option<Problem> {
        let name = self.profile.as_ref().filter(|name| !self.profiles.contains(*name))?;
        let problem = Problem::new("", format!("there is no profile `{name}`"));
        let names: Vec<_> = self.profiles.iter().map(String::as_str).collect();
        Some(match names[..] {
            [] => problem.help("no source has one: write `[profiles.NAME]`"),
            _ => problem.help(format!("there are {}", names.join(", "))),
        })
    }

    /// What a stronger source says.
    fn lay_over(&mut self, mut values: Map<String, Value>) {
        // However it is written, it is one header.
        if let Some(Value::Object(headers)) = values.get_mut("headers") {
            let said = std::mem::take(headers).into_iter();
            headers.extend(said.map(|(name, value)| (name.to_ascii_lowercase(), value)));
        }
        // Where a secret is, is one thing: not one key of several.
        if values.get("auth").is_some_and(|auth| auth.get("secret").is_some())
            && let Some(Value::Object(auth)) = self.values.get_mut("auth")
        {
            auth.remove("secret");
        }
        merge(&mut self.values, values);
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("sources", &self.sources.len())
            .field("profile", &self.profile)
            .finish()
    }
}

/// Tells the path of each value.
fn place_all(values: &Map<String, Value>, at: &str, tell: &mut dyn FnMut(String)) {
    for (name, value) in values {
        let path = joined(at, name);
        if let Value::Object(values) = value {
            place_all(values, &path, tell);
        }
        tell(path);
    }
}

/// What is said later counts.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}
