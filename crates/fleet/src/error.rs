use tower_ws_core::{BoxError, Failure, FailureKind};
use tower_ws_spool::OpenError;

/// What could not be done with the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Nobody answers there, or not in time, or it is going down, or it takes no writes (a standby).
    /// It may be tried again.
    #[error("the fleet's database cannot be reached, or does not answer")]
    Unreachable(#[source] BoxError),
    /// What is asked for is not there: the schema is missing, or that of another version.
    #[error("the fleet's tables are not there or of another version; run `Fleet::migrate`, or apply `SCHEMA` by hand")]
    Schema(#[source] BoxError),
    /// The database lets this user not in, or not do this.
    #[error("the fleet's database denies it; give the user what the docs of tower-ws-fleet list")]
    Denied(#[source] BoxError),
    /// The lane is not this process's any more: its lease ran out, or another process has it.
    #[error("the lane `{0}` is not this process's any more; acquire it again")]
    Lost(String),
    /// The spool of a lane is open already.
    #[error("the lane `{0}` has a spool already; a lane has one for each time that it is acquired")]
    Opened(String),
    /// What the lane holds cannot be used as a spool.
    #[error("the lane `{lane}` cannot be opened")]
    #[non_exhaustive]
    Spool {
        /// Which lane.
        lane: String,
        /// Why.
        #[source]
        cause: OpenError,
    },
    /// The database failed in another way.
    #[error("the fleet's database failed")]
    Database(#[source] BoxError),
}

impl FleetError {
    /// Whether it may go away by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    pub(crate) fn timed_out() -> Self {
        Self::Unreachable("no answer in time".into())
    }

    /// What a statement or a connection came to, by its SQLSTATE (PostgreSQL, appendix A).
    pub(crate) fn of(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code().map(|code| code.code().to_owned()) else {
            return Self::Unreachable(error.into());
        };
        match &*code {
            // Missing or other tables, columns, functions.
            "42P01" | "42703" | "42883" | "3F000" => Self::Schema(error.into()),
            // 28: who it is; 42501: what he may do; 3D000: no such database.
            "42501" | "3D000" => Self::Denied(error.into()),
            code if code.starts_with("28") => Self::Denied(error.into()),
            // A standby; a statement that a pooler does not know any more, or plans that are stale.
            "25006" | "26000" | "0A000" => Self::Unreachable(error.into()),
            // 08: the connection; 53: no connection left, no memory; 57: it is going down; 40: again.
            code if ["08", "57", "40"].iter().any(|class| code.starts_with(class)) => Self::Unreachable(error.into()),
            "53300" => Self::Unreachable(error.into()),
            _ => Self::Database(error.into()),
        }
    }

    /// The same as a failure of a dial.
    pub(crate) fn into_failure(self) -> Failure {
        let kind = match self {
            Self::Unreachable(_) | Self::Database(_) => FailureKind::Network,
            Self::Lost(_) => FailureKind::Local,
            _ => FailureKind::Policy,
        };
        Failure::new(kind, self.to_string()).with_source(self)
    }
}
