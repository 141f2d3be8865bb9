#[cfg(feature = "sqlite")]
use std::path::Path;
use std::{fmt, sync::Arc};

use tower_ws_ack::Strategy;
use tower_ws_core::{Clock, Pack, SystemClock, Verbatim};

use crate::{
    error::OpenError,
    journal::{Contents, Journal},
    ledger::Limits,
    spool::Spool,
};

/// How a [`Spool`] keeps its messages.
#[derive(Clone)]
#[must_use = "options do nothing until a spool is opened with them"]
pub struct SpoolOptions<P = Verbatim> {
    pub(crate) settings: Settings,
    pub(crate) pack: P,
}

/// What does not depend on the messages.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    #[cfg(feature = "sqlite")]
    pub(crate) file_bytes: u64,
    #[cfg(feature = "sqlite")]
    pub(crate) survives: Survives,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a message survives once it is accepted. This list is complete.
#[cfg(feature = "sqlite")]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Survives {
    /// A crash of the process, of the system, and the loss of power: each commit is flushed to the
    /// disk, as far as the disk tells the truth about it.
    #[default]
    PowerLoss,
    /// A crash of the process. After one of the system the file is whole, but the last messages may
    /// be missing from it, and some that were settled may be there. Several times as fast where
    /// flushing a disk is slow.
    Crash,
}

impl SpoolOptions {
    /// The default of [`limits`](Self::limits) by number: 16,384.
    pub const MESSAGES: usize = 16_384;
    /// The default of [`limits`](Self::limits) by size: 64 MiB.
    pub const BYTES: usize = 64 << 20;
    #[cfg(feature = "sqlite")]
    /// The default of [`file_limit`](Self::file_limit): 256 MiB.
    pub const FILE_BYTES: u64 = 256 << 20;

    /// The defaults.
    pub fn new() -> Self {
        Self {
            settings: Settings {
                limits: Limits {
                    messages: Self::MESSAGES,
                    bytes: Self::BYTES,
                },
                #[cfg(feature = "sqlite")]
                file_bytes: Self::FILE_BYTES,
                #[cfg(feature = "sqlite")]
                survives: Survives::default(),
                clock: Arc::new(SystemClock),
            },
            pack: Verbatim,
        }
    }
}

impl<P> SpoolOptions<P> {
    /// Sets how messages are written down. Default: [`Verbatim`].
    pub fn pack<Q>(self, pack: Q) -> SpoolOptions<Q> {
        SpoolOptions {
            settings: self.settings,
            pack,
        }
    }

    /// Sets how many messages, and how many bytes of them, may be recorded: those that the queue
    /// holds, and those that were handed over and are not settled. Default 16,384 and 64 MiB, room
    /// for the defaults of the queue and of the acknowledging layer several times over. Their bytes
    /// are in memory, too. 0 counts as 1.
    ///
    /// A message for which there is no room comes back as refused. With the default bounds that
    /// means that something is wrong: nothing is acknowledged.
    pub fn limits(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.limits = Limits {
            messages: messages.max(1),
            bytes: bytes.max(1),
        };
        self
    }

    /// Sets how large the file may become, beside its log of some MiB. Default 256 MiB, four times
    /// the bytes of its messages: what is left over is for small messages, each of which takes some
    /// 40 bytes more.
    #[cfg(feature = "sqlite")]
    pub fn file_limit(mut self, bytes: u64) -> Self {
        self.settings.file_bytes = bytes;
        self
    }

    /// Sets what a message survives once it is accepted. Default [`Survives::PowerLoss`].
    #[cfg(feature = "sqlite")]
    pub fn survives(mut self, survives: Survives) -> Self {
        self.settings.survives = survives;
        self
    }

    /// Sets where wall time comes from: ages and deadlines go on across restarts. Default: the
    /// system's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Opens a spool over a journal of one's own, with what it holds. `file_limit` and `survives`
    /// mean nothing there.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoMessage`], and [`OpenError::Thread`].
    pub fn over<M, S>(self, journal: impl Journal, contents: Contents, strategy: S) -> Result<Spool<M, S, P>, OpenError>
    where
        P: Pack<M>,
        S: Strategy<M>,
    {
        Spool::over(journal, contents, strategy, self)
    }

    /// Opens a spool in a file, or makes a new one. See [`Spool::open`].
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    #[cfg(feature = "sqlite")]
    pub fn open<M, S>(self, path: impl AsRef<Path>, strategy: S) -> Result<Spool<M, S, P>, OpenError>
    where
        P: Pack<M>,
        S: Strategy<M>,
    {
        Spool::open_with(path.as_ref(), strategy, self)
    }
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for SpoolOptions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SpoolOptions");
        shown.field("limits", &self.limits);
        #[cfg(feature = "sqlite")]
        shown
            .field("file_bytes", &self.file_bytes)
            .field("survives", &self.survives);
        shown.finish_non_exhaustive()
    }
}
