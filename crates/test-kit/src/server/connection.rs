//! The life of one connection: freezing and cutting from outside, the script inside.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::task::yield_now;
use tokio_rustls::TlsAcceptor;
use tower_ws_transport::Message;

use super::session::session;
use super::upgrade::{Request, Upgrade, upgrade};
use super::{Received, Script, State};
use crate::cut::Cut;

/// What the server's handle asks of a connection, in order.
pub(super) enum Command {
    Push(Message),
    Close(u16, String),
}

/// What acts on a connection whatever its script is doing.
pub(super) struct Leash {
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) cuts: watch::Receiver<Cut>,
}

/// The tie between a script and the server's ledger.
pub(super) struct Link {
    pub(super) number: usize,
    pub(super) state: Arc<watch::Sender<State>>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
}

pub(super) async fn serve(mut tcp: TcpStream, tls: Option<TlsAcceptor>, script: Script, mut link: Link, leash: Leash) {
    tracing::debug!(connection = link.number, ?script, "accepted");
    let cut = {
        let run = async {
            match tls {
                None => play(&mut tcp, &script, &mut link).await,
                Some(acceptor) => play(acceptor.accept(&mut tcp).await?, &script, &mut link).await,
            }
        };
        // An error means that the peer has gone or does not speak TLS: what is left of the
        // connection ends politely.
        leash.hold(pin!(run)).await.unwrap_or(Cut::Fin)
    };
    tracing::debug!(connection = link.number, ?cut, "ended");
    link.state.send_modify(|state| {
        state.live.remove(&link.number);
    });
    cut.apply(tcp).await;
}

async fn play<S>(mut io: S, script: &Script, link: &mut Link) -> io::Result<Cut>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let cut = match upgrade(&mut io, script, link).await? {
        Upgrade::Done(early) => session(&mut io, early, script, link).await?,
        Upgrade::Ended(cut) => cut,
    };
    if let Cut::Fin = cut {
        // Over TLS this is where `close_notify` goes out.
        io.shutdown().await?;
    }
    Ok(cut)
}

// === impl Leash ===

impl Leash {
    /// Runs a script until it ends or is cut, and not at all while the server is frozen.
    async fn hold<F>(mut self, mut run: Pin<&mut F>) -> io::Result<Cut>
    where
        F: Future<Output = io::Result<Cut>>,
    {
        loop {
            let frozen = *self.frozen.borrow_and_update();
            tokio::select! {
                biased;
                // The server's handle outlives its connections: neither of these ends with an
                // error.
                _ = self.frozen.changed() => {}
                // Unconstrained: a script that always has something to write uses up the task's
                // budget, and would never be cut.
                _ = unconstrained(self.cuts.changed()) => {
                    if !frozen {
                        last_turn(run).await;
                    }
                    return Ok(*self.cuts.borrow());
                }
                end = &mut run, if !frozen => return end,
            }
        }
    }
}

/// What was pushed before the cut goes before the cut: lets a script do what it can do at once, and
/// no more than so many rounds of it, as some have no end.
async fn last_turn<F: Future>(mut run: Pin<&mut F>) {
    for _ in 0..100 {
        let done = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx).is_ready() || has_budget_remaining()));
        if done.await {
            return;
        }
        yield_now().await;
    }
}

// === impl Link ===

impl Link {
    pub(super) fn requested(&self, request: Request) {
        let request = request.of(self.number);
        self.state.send_modify(|state| state.requests.push(request));
    }

    pub(super) fn received(&self, message: Message) {
        let received = Received {
            connection: self.number,
            message,
            at: tokio::time::Instant::now(),
        };
        self.state.send_modify(|state| state.received.push(received));
    }

    /// Reads and drops until the peer ends or the server is asked to close.
    pub(super) async fn hold<S>(&mut self, io: &mut S) -> io::Result<Cut>
    where
        S: AsyncRead + Unpin,
    {
        let mut void = vec![0; 4096];
        loop {
            tokio::select! {
                read = io.read(&mut void) => if read? == 0 { return Ok(Cut::Fin) },
                Some(command) = self.commands.recv() => if let Command::Close(..) = command {
                    return Ok(Cut::Fin);
                },
            }
        }
    }
}
