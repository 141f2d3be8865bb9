#[cfg(feature = "sqlite")]
use std::path::Path;
use std::{fmt, future::poll_fn, marker::PhantomData, sync::Arc, thread};

use tokio::time::Instant;
use tower_ws_ack::Strategy;
use tower_ws_core::{Clock, Pack, Verbatim};
use tower_ws_queue::MakeStore;

use crate::{
    change::Row,
    error::OpenError,
    handle::{Handle, Hub},
    journal::{Contents, Journal, Tenure},
    ledger::Ledger,
    options::{Settings, SpoolOptions},
    store::SpoolStore,
    writer::{self, Shared},
};

/// A file, or another [`Journal`], that holds the messages of a queue. See the [crate docs](crate).
///
/// Clones share it. One session uses it at a time: a session that begins while another lives
/// gets a store that refuses every message, and says why.
///
/// # Dropping it
///
/// When the last clone and the last session are gone, what was left for the writer's thread is
/// still written and the file is closed, in that thread: dropping never waits for a disk. Whoever
/// opens the file next waits for it. A process that ends at once may end before what was settled is
/// off the disk: the next one sends it again, or reports it as interrupted. A clean exit
/// [closes](Self::close) it first.
pub struct Spool<M, S, P = Verbatim> {
    pub(crate) core: Arc<Core>,
    strategy: S,
    pack: P,
    message: PhantomData<fn(M) -> M>,
}

/// What the clones and the session of a spool share.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hub: tower_ws_core::Shared<Hub>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenure: Option<Arc<dyn Tenure>>,
    settings: Settings,
}

#[cfg(feature = "sqlite")]
impl<M, S> Spool<M, S>
where
    Verbatim: Pack<M>,
    S: Strategy<M>,
{
    /// Opens the spool at `path`, or makes a new one there, with the default
    /// [options](SpoolOptions).
    ///
    /// Messages are written down as they are, unless the options say [how](SpoolOptions::pack).
    /// `strategy` is that of the acknowledging layer below; [`Unacknowledged`](crate::Unacknowledged),
    /// if there is none.
    ///
    /// It **blocks** while it reads the file, and for half a second if the file is in use: whoever
    /// has it may be closing it. So it belongs before the runtime starts, or on a thread that may
    /// block.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is not writable, in use, damaged, or something else. Nothing is
    /// repaired or removed.
    pub fn open(path: impl AsRef<Path>, strategy: S) -> Result<Self, OpenError> {
        Self::open_with(path.as_ref(), strategy, SpoolOptions::new())
    }
}

impl<M, S, P> Spool<M, S, P>
where
    P: Pack<M>,
    S: Strategy<M>,
{
    #[cfg(feature = "sqlite")]
    pub(crate) fn open_with(path: &Path, strategy: S, options: SpoolOptions<P>) -> Result<Self, OpenError> {
        let survives = options.settings.survives;
        let (disk, contents) = crate::disk::Disk::open(path, survives, options.settings.file_bytes)?;
        Self::over(disk, contents, strategy, options).map_err(|error| {
            let path = path.to_owned();
            match error {
                OpenError::NoMessage { record } => OpenError::Unreadable { path, record },
                OpenError::Thread { cause } => OpenError::Io { path, cause },
                other => other,
            }
        })
    }

    pub(crate) fn over(
        journal: impl Journal,
        contents: Contents,
        strategy: S,
        options: SpoolOptions<P>,
    ) -> Result<Self, OpenError> {
        let unreadable = |row: &&Row| options.pack.unpack(row.payload.clone()).is_none();
        if let Some(row) = contents.rows.iter().find(unreadable) {
            return Err(OpenError::NoMessage { record: row.seq });
        }
        if !contents.rows.is_empty() {
            tracing::info!(messages = contents.rows.len(), "the spool brings messages along");
        }
        let spool = Self::new(contents, journal.tenure(), strategy, options);
        let shared = spool.core.shared.clone();
        let writer = thread::Builder::new().name("tower-ws-spool".to_owned());
        match writer.spawn(move || writer::run(journal, shared)) {
            Ok(_) => Ok(spool),
            Err(cause) => Err(OpenError::Thread { cause }),
        }
    }

    /// With what a journal holds. Somebody has to write to it.
    pub(crate) fn new(
        contents: Contents,
        tenure: Option<Arc<dyn Tenure>>,
        strategy: S,
        options: SpoolOptions<P>,
    ) -> Self {
        let SpoolOptions { settings, pack } = options;
        let (now, wall) = (Instant::now(), settings.clock.now());
        let ledger = Ledger::new(settings.limits, contents.rows, contents.first_id, now, wall);
        let shared = Shared::new(ledger);
        Self {
            core: Arc::new(Core {
                hub: tower_ws_core::Shared::new(Hub::new(shared.clone())),
                shared,
                clock: settings.clock.clone(),
                tenure,
                settings,
            }),
            strategy,
            pack,
            message: PhantomData,
        }
    }
}

impl<M, S, P> Spool<M, S, P> {
    /// A handle to look into it.
    pub fn handle(&self) -> Handle {
        Handle(self.core.hub.clone())
    }

    /// The strategy that it was opened with: the acknowledging layer below is to have the same.
    pub fn strategy(&self) -> &S {
        &self.strategy
    }

    /// Writes what is still to be written and closes the file, for all clones: whoever sends
    /// afterwards gets the message back as refused. Close the session first: what a queue still
    /// holds leaves no more, and comes back as closed.
    ///
    /// Dropping the future does not undo it. It waits for as long as the disk takes, so give it a
    /// time limit where a disk may hang.
    pub async fn close(&self) {
        self.core.shared.stop();
        poll_fn(|cx| self.core.shared.poll_ended(cx)).await;
    }
}

impl<M, S, P> MakeStore<M> for Spool<M, S, P>
where
    P: Pack<M> + Clone,
    S: Strategy<M> + Clone,
{
    type Store = SpoolStore<M, S, P>;

    fn make_store(&self) -> Self::Store {
        SpoolStore::new(self.core.clone(), self.pack.clone(), self.strategy.clone())
    }
}

impl<M, P: Clone, S: Clone> Clone for Spool<M, S, P> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            strategy: self.strategy.clone(),
            pack: self.pack.clone(),
            message: PhantomData,
        }
    }
}

impl<M, S, P> fmt::Debug for Spool<M, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("options", &self.core.settings)
            .field("snapshot", &self.handle().snapshot())
            .finish_non_exhaustive()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
