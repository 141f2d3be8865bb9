//! A connection in memory under the layer, and its far end.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a test that fails may panic; not every test uses all"
)]

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt, task::AtomicWaker};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{Deadlines, Down, Event, Lift, Progress, Up};
use tower_ws_health::{HealthConnection, HealthLayer};
use tower_ws_transport::{
    Kind, Message,
    memory::{self, Socket},
};

pub(crate) type Watched = HealthConnection<Lift<Wire, Message>>;
pub(crate) type Far = Socket<Message>;

/// A socket that counts, if it is given counters, and that may be kept shut.
pub(crate) struct Wire {
    socket: Far,
    gate: Arc<Gate>,
}

#[derive(Default)]
pub(crate) struct Gate {
    progress: Option<Progress>,
    shut: AtomicBool,
    /// Until then, and once then, reads find nothing though there is something.
    pub(crate) blind: Mutex<Option<Instant>>,
    reader: AtomicWaker,
}

impl Gate {
    pub(crate) fn counting() -> Arc<Self> {
        Arc::new(Self {
            progress: Some(Progress::new()),
            ..Self::default()
        })
    }

    /// Bytes of an unfinished message come in.
    pub(crate) fn bytes(&self, bytes: usize) {
        self.progress.as_ref().unwrap().add_read(bytes);
        self.reader.wake();
    }

    /// The system took bytes to send.
    pub(crate) fn written(&self, bytes: usize) {
        self.progress.as_ref().unwrap().add_written(bytes);
    }

    /// Nobody looks into the socket while it is shut.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
        self.reader.wake();
    }
}

impl Stream for Wire {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.gate.reader.register(cx.waker());
        if self.gate.shut.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        {
            let mut blind = self.gate.blind.lock().unwrap();
            if let Some(until) = *blind {
                if until <= Instant::now() {
                    *blind = None;
                }
                return Poll::Pending;
            }
        }
        let polled = self.socket.poll_next_unpin(cx);
        if let (Poll::Pending, Some(progress)) = (&polled, &self.gate.progress) {
            progress.add_dry_read();
        }
        polled
    }
}

impl Sink<Message> for Wire {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> io::Result<()> {
        self.socket.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(cx)
    }
}

/// A connection whose `Up` has been read.
pub(crate) async fn connect(layer: &HealthLayer) -> (Watched, Far) {
    connect_through(layer, Arc::default()).await
}

pub(crate) async fn connect_through(layer: &HealthLayer, gate: Arc<Gate>) -> (Watched, Far) {
    let (mut connection, far) = dial(layer, gate).await;
    up(&mut connection).await;
    (connection, far)
}

/// A connection of which nothing has been read.
pub(crate) async fn dial(layer: &HealthLayer, gate: Arc<Gate>) -> (Watched, Far) {
    let (near, far) = memory::pair(4);
    let progress = gate.progress.clone();
    // The write deadline would often end it first.
    let lift = Lift::new(Wire { socket: near, gate }).deadlines(Deadlines::default().write(None), progress);
    let mut lift = Some(lift);
    let dial = service_fn(move |(): ()| {
        let lift = lift.take().unwrap();
        async { Ok::<_, Infallible>(lift) }
    });
    (layer.layer(dial).oneshot(()).await.unwrap(), far)
}

pub(crate) async fn up(connection: &mut Watched) -> Up {
    match connection.next().await {
        Some(Event::Up(up)) => up,
        other => panic!("expected Up, got {other:?}"),
    }
}

pub(crate) async fn down(connection: &mut Watched) -> Down {
    match connection.next().await {
        Some(Event::Down(down)) => down,
        other => panic!("expected Down, got {other:?}"),
    }
}

/// Answers pings after so long.
pub(crate) fn answer(mut far: Far, after: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(Ok(message)) = far.next().await {
            if message.kind() == Kind::Ping {
                sleep(after).await;
                if far.send(Message::pong(message.into_bytes())).await.is_err() {
                    return;
                }
            }
        }
    })
}

/// Reads until the end.
pub(crate) fn read(mut connection: Watched) -> JoinHandle<Vec<Event<Message>>> {
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = connection.next().await {
            events.push(event);
        }
        events
    })
}

/// The next ping that arrives.
pub(crate) async fn ping(far: &mut Far) -> bytes::Bytes {
    loop {
        match far.next().await {
            Some(Ok(message)) if message.kind() == Kind::Ping => return message.into_bytes(),
            Some(Ok(_)) => {}
            other => panic!("expected a ping, got {other:?}"),
        }
    }
}
