//! TLS configured by files, which are read again when they change.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::ClientConfig;

use super::{Material, Tls, TlsError, connector::with_alpn};

/// Certificates in files that somebody renews: they are looked at with each dial, and read again
/// when one of them has changed.
///
/// ```no_run
/// # fn run() -> Result<(), tower_ws_connector::tls::TlsError> {
/// use tower_ws_connector::{Connect, tls::TlsFiles};
///
/// let files = TlsFiles::new().only_roots("ca.pem").client_cert("client.pem", "client.key");
/// let connector = Connect::new().tls_files(files)?.connector();
/// # drop(connector); Ok(()) }
/// ```
///
/// New contents count at the next dial, whose TLS session is a new one; a connection that is up
/// stays as it is. Contents that cannot be used (half written, say) leave the old ones in use, and a
/// `WARN` says so once for each change. Looking costs one `stat` for each file and dial, on the
/// thread that dials.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    tls: Tls,
    roots: Option<PathBuf>,
    only_roots: bool,
    client: Option<(PathBuf, PathBuf)>,
}

/// The configuration of files as they were when it was last asked for.
pub(crate) struct Watched {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    seen: Vec<Stamp>,
    config: Arc<ClientConfig>,
}

/// What tells a file from one that it replaced; `None`: it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

impl TlsFiles {
    /// No file yet; what they do not say is as in [`Tls::new`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the files do not say: pins, versions, further roots.
    #[must_use]
    pub fn base(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Trusts the authorities in this file as well ([`Tls::roots_pem`]).
    #[must_use]
    pub fn roots(mut self, path: impl Into<PathBuf>) -> Self {
        (self.roots, self.only_roots) = (Some(path.into()), false);
        self
    }

    /// Trusts the authorities in this file and nobody else ([`Tls::only_roots_pem`]).
    #[must_use]
    pub fn only_roots(mut self, path: impl Into<PathBuf>) -> Self {
        (self.roots, self.only_roots) = (Some(path.into()), true);
        self
    }

    /// Shows the certificate in these files to a server that asks ([`Tls::client_cert_pem`]).
    #[must_use]
    pub fn client_cert(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((chain.into(), key.into()));
        self
    }

    fn load(&self) -> Result<ClientConfig, TlsError> {
        let mut tls = self.tls.clone();
        if let Some(path) = &self.roots {
            let pem = read(path, Material::Roots)?;
            tls = match self.only_roots {
                true => tls.only_roots_pem(pem)?,
                false => tls.roots_pem(pem)?,
            };
        }
        if let Some((chain, key)) = &self.client {
            let (chain, key) = (read(chain, Material::ClientChain)?, read(key, Material::ClientKey)?);
            tls = tls.client_cert_pem(chain, key)?;
        }
        Ok(with_alpn(tls.config()))
    }

    fn stamps(&self) -> Vec<Stamp> {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.roots.iter().chain(client).map(stamp).collect()
    }
}

impl Watched {
    /// Reads the files.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen next time.
        let seen = files.stamps();
        let config = Arc::new(files.load()?);
        let state = Mutex::new(State { seen, config });
        Ok(Self { files, state })
    }

    /// The configuration by the files as they are now, or as they were when they were last good.
    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.files.stamps();
        if now != state.seen {
            state.seen = now;
            match self.files.load() {
                Ok(config) => {
                    tracing::info!("certificates have changed: read anew");
                    state.config = Arc::new(config);
                }
                Err(error) => {
                    let error = tower_ws_core::Causes(&error).to_string();
                    tracing::warn!(
                        error,
                        "certificates have changed and cannot be used; the old ones stay in use"
                    );
                }
            }
        }
        state.config.clone()
    }
}

fn read(path: &Path, what: Material) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
