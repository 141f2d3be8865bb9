use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A listener that can be closed and opened again on the same port.
#[derive(Debug)]
pub(crate) struct Door {
    addr: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listener: Listener,
    /// The accepting task, parked while there is no listener.
    waiting: Option<Waker>,
}

#[derive(Debug)]
enum Listener {
    Open(TcpListener),
    /// A socket that is bound and does not listen keeps the port from being given to anybody else.
    Shut(Option<TcpSocket>),
}

/// How long the accepting task rests after an error (out of descriptors), so as not to spin.
const REST: Duration = Duration::from_millis(10);

impl Door {
    pub(crate) fn open() -> io::Result<Self> {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?.listen(BACKLOG)?;
        Ok(Self {
            addr: listener.local_addr()?,
            state: Mutex::new(State {
                listener: Listener::Open(listener),
                waiting: None,
            }),
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener: from here on, connections are refused.
    pub(crate) fn refuse(&self) {
        let mut state = self.state();
        if let Listener::Open(_) = state.listener {
            // The old listener has to go before the port can be bound again.
            state.listener = Listener::Shut(None);
            state.listener = Listener::Shut(bind(self.addr).ok());
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn listen(&self) -> io::Result<()> {
        let mut state = self.state();
        if let Listener::Shut(held) = &mut state.listener {
            let socket = match held.take() {
                Some(socket) => socket,
                None => bind(self.addr)?,
            };
            state.listener = Listener::Open(socket.listen(BACKLOG)?);
        }
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
        Ok(())
    }

    /// The next connection; waits for as long as the door is shut.
    pub(crate) async fn accept(&self) -> TcpStream {
        loop {
            match std::future::poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(tcp) => {
                    // Faults are about time: answers leave when they are written.
                    let _ = tcp.set_nodelay(true);
                    return tcp;
                }
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let mut state = self.state();
        // Kept in both cases: a listener that is dropped wakes nobody.
        state.waiting = Some(cx.waker().clone());
        match &state.listener {
            Listener::Open(listener) => Poll::Ready(ready!(listener.poll_accept(cx)).map(|(tcp, _)| tcp)),
            Listener::Shut(_) => Poll::Pending,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BACKLOG: u32 = 4096;

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Old connections of the same port linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
