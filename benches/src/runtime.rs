//! The runtime of a client.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::kind::Kind;

/// A new one, with as many threads as the kind asks for.
pub(crate) fn of(kind: Kind) -> io::Result<Runtime> {
    let mut builder = match kind.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(kind.threads).enable_all().build()
}
