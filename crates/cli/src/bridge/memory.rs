//! What a server said of itself the last time, in the user's folder of caches.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_ws::config::{Config, Secret};

use crate::jwt;

/// Where it is kept: a file for each address, with its headers and whose credential is shown.
///
/// Its name is a keyed hash of them, and the key is random and stands beside it: of a token it tells nothing.
pub(super) struct Memory {
    path: Option<PathBuf>,
}

/// What is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Recalled {
    /// What the server was asked: `initialize`, in which revision, or `server/discover`.
    pub(super) asked: Asked,
    /// Its result.
    pub(super) introduction: Box<RawValue>,
    /// That of `tools/list`, if it was one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tools: Option<Box<RawValue>>,
}

/// How a host introduces itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) revision: Option<String>,
}

impl Memory {
    /// That of this server, as it is addressed, and of this account.
    pub(super) fn of(config: &Config) -> Self {
        let path = || {
            let folder = etcetera::choose_base_strategy().ok()?.cache_dir();
            let folder = folder.join("tower-ws").join("bridge");
            let key = key(&folder).inspect_err(|error| not_kept(error, &folder)).ok()?;
            Some(folder.join(name(&key, config)?))
        };
        Self { path: path() }
    }

    /// What was kept; none, if it cannot be read: it is a cache.
    pub(super) fn recall(&self) -> Option<Recalled> {
        serde_json::from_str(&fs::read_to_string(self.path.as_ref()?).ok()?).ok()
    }

    /// Keeps it. Where it cannot, the next start has to wait for the server.
    pub(super) fn keep(&self, recalled: &Recalled) {
        let Some(path) = &self.path else { return };
        let kept = serde_json::to_vec(recalled).map_err(io::Error::from);
        if let Err(error) = kept.and_then(|text| write(path, &text)) {
            not_kept(&error, path);
        }
    }
}

/// What its file is called; none if the credential cannot be read, for nobody knows whose memory it is then.
fn name(key: &hmac::Key, config: &Config) -> Option<String> {
    let whose = match &config.auth.secret {
        None => String::new(),
        Some(Secret::Env(name)) => account(&std::env::var(name).ok()?),
        Some(Secret::File(path)) => account(&fs::read_to_string(path).ok()?),
        // It is not run for this: it may ask somebody for a password.
        Some(Secret::Command(_)) => String::new(),
    };
    let client = &config.connect.client_cert;
    let all = serde_json::to_vec(&(&config.url, &config.headers, &config.auth, client, whose)).ok()?;
    let hash = hmac::sign(key, &all);
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hex}.json"))
}

/// Whose token it is. One that says so may be renewed, and is the same account's still.
fn account(token: &str) -> String {
    let token = token.trim();
    let claims = jwt::claims(token);
    let claim = |name| claims.as_ref()?.get(name)?.as_str();
    match (claim("iss"), claim("sub")) {
        (Some(issuer), Some(subject)) => format!("{issuer} {subject}"),
        _ => token.to_owned(),
    }
}

/// The key of all names: 32 random bytes, made when it is first needed.
fn key(folder: &Path) -> io::Result<hmac::Key> {
    let path = folder.join("key");
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => drop(file.take(32).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bytes.resize(32, 0);
            let filled = SystemRandom::new().fill(&mut bytes);
            filled.map_err(|_| io::Error::other("the system has no random numbers"))?;
            write(&path, &bytes)?;
        }
        Err(error) => return Err(error),
    }
    match bytes.len() {
        32 => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err(io::Error::other("the key is too short")),
    }
}

fn not_kept(error: &io::Error, path: &Path) {
    tracing::debug!(%error, path = %path.display(), "what the server says of itself is not kept");
}

/// All of it, or nothing; for the user alone.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&new)?;
    file.write_all(text)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn named(config: &Config) -> Option<String> {
        name(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), config)
    }

    fn with(secret: Option<Secret>) -> Config {
        let mut config = Config::default();
        config.url = "wss://tools.example/mcp".to_owned();
        config.auth.secret = secret;
        config
    }

    #[test]
    fn each_account_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let of = |token: &str| {
            fs::write(&path, token).unwrap();
            named(&with(Some(Secret::File(path.clone())))).unwrap()
        };
        let jwt = |claims: &str| format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(claims));
        let first = of("first");
        assert_eq!(first, of("first\n"));
        assert_ne!(first, of("second"));
        // A token that was renewed is still the same account's.
        let mine = of(&jwt(r#"{"iss":"i","sub":"me","exp":1}"#));
        assert_eq!(mine, of(&jwt(r#"{"iss":"i","sub":"me","exp":2}"#)));
        assert_ne!(mine, of(&jwt(r#"{"iss":"i","sub":"you","exp":1}"#)));
        // Who says nothing of whose it is may be anybody.
        assert_ne!(of(&jwt(r#"{"sub":"me","exp":1}"#)), of(&jwt(r#"{"sub":"me","exp":2}"#)));
    }

    #[test]
    fn another_way_of_addressing_it_is_another_one() {
        let plain = with(None);
        let mut configs = vec![plain.clone(), plain.clone(), plain];
        configs[1].headers.insert("x-tenant".to_owned(), "blue".to_owned());
        configs[2].connect.client_cert = Some("client.pem".into());
        for argument in ["a", "b"] {
            let command = vec!["login".to_owned(), argument.to_owned()];
            configs.push(with(Some(Secret::Command(command))));
        }
        let names: std::collections::BTreeSet<_> = configs.iter().map(|config| named(config).unwrap()).collect();
        assert_eq!(names.len(), 5);
        assert_eq!(named(&with(Some(Secret::File("/nowhere/token".into())))), None);
    }

    #[test]
    fn the_key_is_made_once_and_for_the_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let names = [1, 2].map(|_| name(&key(folder.path()).unwrap(), &with(None)));
        assert_eq!(names[0], names[1]);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(name(&key(other.path()).unwrap(), &with(None)), names[0]);
        fs::write(other.path().join("key"), "short").unwrap();
        assert!(key(other.path()).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
