//! The settings of a session from files and the environment, all of them checked before anything is dialled.
//! Behind the feature `config`.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_ws::config::Config;
//!
//! let config = Config::sources()
//!     .file("/etc/orders/tower-ws.toml")
//!     // And from `TOWER_WS__…`, which is stronger.
//!     .env()
//!     .load()?;
//! let (client, inbound) = config.builder()?.connect().await?;
//! # Ok(()) }
//! ```
//!
//! # What there is
//!
//! [`EXAMPLE`] is a file of all settings with their units and defaults. Times are written as people do (`"1500ms"`,
//! `"30s"`, `"1h 30m"`), sizes too (`"64KiB"`, `"8MiB"`, or a number of bytes).
//!
//! # Where it comes from
//!
//! Nothing is read that was not asked for: no file of the working directory, no variable. Of what is said twice the
//! later source counts, in the order in which they are given; tables are put together key by key, lists replaced.
//! What nobody says is the default, which is that of the layers.
//!
//! A variable is `TOWER_WS__SECTION__FIELD` ([`Sources::env`]): `TOWER_WS__CLIENT__TIMEOUT=10s`. A list is separated
//! by commas. In the name of a header `_` stands for `-`.
//!
//! A file may have profiles, `[profiles.NAME]`, of which [`Sources::profile`] chooses one: any of the settings, which
//! then count over the rest of the file.
//!
//! # What is wrong
//!
//! All that is wrong is told at once ([`ConfigError`]), each with its place and, where a name is unknown, the nearest
//! one that is known; a value of the wrong type is told alone, since nothing can be said of the rest.
//!
//! # Secrets
//!
//! They are never in the settings: [`Secret`] says where one is, and it is read each time that a credential is needed,
//! so a token that somebody renews is seen. Header values are left out of `Debug`, since they may be secrets.
//!
//! # What it does not do
//!
//! What is code has no setting: policies, checks, probes, stores, layers of your own. They are added to the
//! [builder](Config::builder). It does not watch its files.

mod build;
mod check;
mod error;
mod secret;
mod settings;
mod sources;
mod units;

pub use self::{
    error::{ConfigError, Problem},
    secret::Secret,
    settings::*,
    sources::Sources,
};

/// A commented file of all settings, each at its default.
pub const EXAMPLE: &str = include_str!("example.toml");
