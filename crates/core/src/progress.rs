use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many bytes a transport has moved, for those above who judge whether it lives.
///
/// The transport counts; it leaves a clone in [`Up`](crate::Up)'s extensions. A message of 16 MiB
/// over a slow link is silence to whoever counts messages, and life to whoever counts bytes. Clones
/// share the counters.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    written: AtomicU64,
    dry: AtomicU64,
}

impl Progress {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that came in.
    pub fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes that the system took to send. Not evidence that the peer lives: a dead peer's kernel
    /// buffer fills quietly.
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// How often a read found nothing. Silence is evidence only if somebody looked: judge a peer
    /// dead only when this has moved since its time was up.
    pub fn dry_reads(&self) -> u64 {
        self.0.dry.load(Ordering::Relaxed)
    }

    /// Counts bytes that came in.
    pub fn add_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that the system took.
    pub fn add_written(&self, bytes: usize) {
        self.0.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a read that found nothing.
    pub fn add_dry_read(&self) {
        self.0.dry.fetch_add(1, Ordering::Relaxed);
    }
}
