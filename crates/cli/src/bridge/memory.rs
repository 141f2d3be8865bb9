//! What a server said of itself the last time, in the user's folder of caches.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::PathBuf,
};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_ws::config::Config;

/// Where it is kept: a file for each address, with its headers and the place of the credential. Not for each credential: it
/// is not read here.
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
    /// That of this server, as it is addressed.
    pub(super) fn of(config: &Config) -> Self {
        let mut hasher = DefaultHasher::new();
        config.url.hash(&mut hasher);
        config.headers.hash(&mut hasher);
        format!("{:?}", config.auth).hash(&mut hasher);
        let name = format!("{:016x}.json", hasher.finish());
        let folders = etcetera::choose_base_strategy().ok();
        let path = folders.map(|folders| folders.cache_dir().join("tower-ws").join("bridge").join(name));
        Self { path }
    }

    /// What was kept; none, if it cannot be read: it is a cache.
    pub(super) fn recall(&self) -> Option<Recalled> {
        serde_json::from_str(&fs::read_to_string(self.path.as_ref()?).ok()?).ok()
    }

    /// Keeps it. Where it cannot, the next start has to wait for the server.
    pub(super) fn keep(&self, recalled: &Recalled) {
        let Some(path) = &self.path else { return };
        if let Err(error) = write(path, recalled) {
            tracing::debug!(%error, path = %path.display(), "what the server says of itself was not kept");
        }
    }
}

/// All of it, or nothing; for the user alone.
fn write(path: &std::path::Path, recalled: &Recalled) -> std::io::Result<()> {
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
    file.write_all(&serde_json::to_vec(recalled)?)?;
    fs::rename(new, path)
}
