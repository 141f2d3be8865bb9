use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use tower_ws_ack::Strategy;
use tower_ws_core::{Pack, Verbatim};
use tower_ws_queue::MakeStore;

use crate::{
    disk::Disk,
    error::OpenError,
    handle::{Handle, Hub},
    options::{Settings, SpoolOptions},
    record::Record,
    store::SpoolStore,
    writer::{self, Shared},
};

/// A file that holds the messages of a queue. See the [crate docs](crate).
///
/// Clones share the file. One session uses it at a time: a session that begins while another lives
/// gets a store that refuses every message, and says why.
///
/// # Dropping it
///
/// When the last clone and the last session are gone, what was handed to the writer's thread is
/// written and the file is closed; dropping **blocks** until then, for one or two commits. So a
/// clean exit loses nothing. To wait without blocking, [`close`](Self::close) it first.
pub struct Spool<M, S, P = Verbatim> {
    core: Arc<Core>,
    strategy: S,
    pack: P,
    message: PhantomData<fn(M) -> M>,
}

/// What the clones and the session of a spool share.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hub: tower_ws_core::Shared<Hub>,
    pub(crate) options: Settings,
    /// What is recorded, while no session has it.
    idle: Mutex<Option<Vec<Record>>>,
    thread: Option<JoinHandle<()>>,
}

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
    /// It **blocks** while it reads the file, so it belongs before the runtime starts, or on a
    /// thread that may block.
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
    pub(crate) fn open_with(path: &Path, strategy: S, options: SpoolOptions<P>) -> Result<Self, OpenError> {
        let SpoolOptions {
            settings: options,
            pack,
        } = options;
        let (disk, contents) = Disk::open(path, options.survives, options.file_bytes)?;
        let unreadable = |row: &&crate::change::Row| pack.unpack(row.payload.clone()).is_none();
        if let Some(row) = contents.rows.iter().find(unreadable) {
            let (path, record) = (path.to_owned(), row.seq);
            return Err(OpenError::Unreadable { path, record });
        }
        let next_seq = contents.rows.last().map_or(1, |row| row.seq + 1);
        let shared = Shared::new(next_seq, contents.first_id);
        let records: Vec<_> = contents.rows.into_iter().map(Record::recovered).collect();
        let hub = Hub::new(shared.clone(), records.len(), records.iter().map(Record::bytes).sum());
        if !records.is_empty() {
            tracing::info!(messages = records.len(), "the spool brings messages along");
        }
        let writes = shared.clone();
        let thread = thread::Builder::new()
            .name("tower-ws-spool".to_owned())
            .spawn(move || writer::run(disk, writes))
            .map_err(|cause| OpenError::Io {
                path: path.to_owned(),
                cause,
            })?;
        Ok(Self {
            core: Arc::new(Core {
                shared,
                hub: tower_ws_core::Shared::new(hub),
                options,
                idle: Mutex::new(Some(records)),
                thread: Some(thread),
            }),
            strategy,
            pack,
            message: PhantomData,
        })
    }
}

impl<M, S, P> Spool<M, S, P> {
    /// A handle to look into it.
    pub fn handle(&self) -> Handle {
        self.core.handle()
    }

    /// The strategy that it was opened with: the acknowledging layer below is to have the same.
    pub fn strategy(&self) -> &S {
        &self.strategy
    }

    /// Writes what is still to be written and closes the file, for all clones: whoever sends
    /// afterwards gets the message back as refused. Close the session first.
    ///
    /// Dropping the future does not undo it.
    pub async fn close(&self) {
        self.core.shared.stop();
        poll_fn(|cx| self.core.shared.poll_stopped(cx)).await;
    }
}

impl<M, S, P> MakeStore<M> for Spool<M, S, P>
where
    P: Pack<M> + Clone,
    S: Strategy<M> + Clone,
{
    type Store = SpoolStore<M, S, P>;

    fn make_store(&self) -> Self::Store {
        let records = self.core.take();
        if records.is_none() {
            tracing::error!("the spool is in use by another session; this one's messages come back as refused");
        }
        SpoolStore::new(self.core.clone(), self.pack.clone(), self.strategy.clone(), records)
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
            .field("options", &self.core.options)
            .field("snapshot", &self.handle().snapshot())
            .finish_non_exhaustive()
    }
}

// === impl Core ===

impl Core {
    pub(crate) fn handle(&self) -> Handle {
        Handle(self.hub.clone())
    }

    fn take(&self) -> Option<Vec<Record>> {
        self.lock().take()
    }

    /// The session is over; the next one gets what it leaves.
    pub(crate) fn leave(&self, records: Vec<Record>) {
        *self.lock() = Some(records);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Record>>> {
        // Nothing that can panic runs under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shared.stop();
        // A waker that the writer drops may be the last owner of a session: it cannot wait for
        // itself.
        if let Some(thread) = self
            .thread
            .take()
            .filter(|own| own.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
    }
}
