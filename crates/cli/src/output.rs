//! What is written for whoever runs the program.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
    thread,
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::exit::{Exit, Trouble};

/// How many lines wait to be written, before whoever makes them does.
const ROOM: usize = 256;

/// Why nothing more can be written, but that nobody reads it.
static BROKEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// Standard output, line by line, written on a thread of its own: whoever does not read it must not stop the answers to pings, nor keep a
/// signal from being heard.
pub(crate) struct Lines(mpsc::Sender<Order>);

enum Order {
    /// With the end of its line.
    Bytes(Vec<u8>),
    /// Tell when all before it is written.
    Done(oneshot::Sender<()>),
}

impl Lines {
    pub(crate) fn begin() -> Self {
        let (orders, mut taken) = mpsc::channel(ROOM);
        thread::spawn(move || {
            while let Some(order) = taken.blocking_recv() {
                match order {
                    Order::Bytes(bytes) => {
                        if !written(&bytes) {
                            return;
                        }
                    }
                    Order::Done(done) => drop(done.send(())),
                }
            }
        });
        Self(orders)
    }

    /// A line. False once nobody reads it.
    pub(crate) async fn tell(&self, line: String) -> bool {
        self.tell_bytes(ended(line)).await
    }

    /// These bytes. False once nobody reads them.
    pub(crate) async fn tell_bytes(&self, bytes: Vec<u8>) -> bool {
        self.0.send(Order::Bytes(bytes)).await.is_ok()
    }

    /// A line that may be left out, should those before it not be read. False once nobody reads them.
    pub(crate) fn offer(&self, line: String) -> bool {
        !matches!(self.0.try_send(Order::Bytes(ended(line))), Err(TrySendError::Closed(_)))
    }

    /// Until nobody reads what is written.
    pub(crate) async fn unread(&self) {
        self.0.closed().await;
    }

    /// Room for a line, which is there once nobody reads, too.
    pub(crate) async fn room(&self) -> Room<'_> {
        Room(self.0.reserve().await.ok())
    }

    /// Until all is written, or nobody reads it.
    pub(crate) async fn finish(self) {
        let (done, all) = oneshot::channel();
        if self.0.send(Order::Done(done)).await.is_ok() {
            let _ = all.await;
        }
    }
}

/// Room for a line.
pub(crate) struct Room<'a>(Option<mpsc::Permit<'a, Order>>);

impl Room<'_> {
    /// False once nobody reads it.
    pub(crate) fn tell(self, line: String) -> bool {
        match self.0 {
            Some(permit) => {
                permit.send(Order::Bytes(ended(line)));
                true
            }
            None => false,
        }
    }
}

/// A line on standard output, now. False once nobody reads it.
pub(crate) fn tell(line: &str) -> bool {
    written(&ended(line.to_owned()))
}

/// As a line.
fn ended(mut line: String) -> Vec<u8> {
    line.push('\n');
    line.into_bytes()
}

fn written(bytes: &[u8]) -> bool {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => true,
        Err(error) => {
            // That nobody reads any more is no news.
            if error.kind() != io::ErrorKind::BrokenPipe {
                *BROKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            false
        }
    }
}

/// Whether all was written that somebody could have read.
pub(crate) fn check() -> Result<(), Trouble> {
    match BROKEN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        None => Ok(()),
        Some(error) => Err(Trouble::new(Exit::Local, format!("standard output: {error}"))),
    }
}

/// A line on standard error.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
