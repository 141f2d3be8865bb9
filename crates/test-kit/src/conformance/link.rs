//! One connection under test, its peer, and what the laws do with them.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    future::{Either, join, select},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower_ws_core::{Closed, Connection, DropReason, Event, Failure, Outgoing, Ticket};

use super::{
    harness::{Harness, Peer},
    lifecycle::Lifecycle,
    suite::{Suite, broken},
};

/// After so long without progress something waits. Under a paused clock this is exact.
pub(crate) const SETTLE: Duration = Duration::from_millis(50);

/// The most that is written to fill every buffer on the way.
const MOST: u64 = 1 << 16;

/// A connection that two tasks may use. Each poll is short, so a plain lock will do.
pub(crate) struct Half<C>(Arc<Mutex<Pin<Box<C>>>>);

/// Messages that a sink took, by their numbers.
pub(crate) type Jam = Vec<(u64, Ticket)>;

pub(crate) struct Link<'a, H: Harness> {
    suite: &'a Suite<H, H::Message>,
    pub(crate) sink: Half<H::Connection>,
    pub(crate) peer: H::Peer,
    lifecycle: Lifecycle,
    reader: Option<Reader<H::Message>>,
    /// The numbers that reached the peer.
    pub(crate) arrived: Vec<u64>,
    /// The numbers that came up.
    pub(crate) read: Vec<u64>,
    pub(crate) dropped: Vec<(u64, DropReason)>,
    pub(crate) delivered: Vec<u64>,
    /// The cause of the last `Down`.
    pub(crate) ended_by: Option<Failure>,
}

struct Reader<M> {
    events: mpsc::UnboundedReceiver<Event<M>>,
    task: JoinHandle<()>,
}

impl<'a, H: Harness> Link<'a, H> {
    pub(crate) fn new(suite: &'a Suite<H, H::Message>, connection: H::Connection, peer: H::Peer) -> Self {
        Self {
            suite,
            sink: Half(Arc::new(Mutex::new(Box::pin(connection)))),
            peer,
            lifecycle: Lifecycle::new(suite.traits.redials),
            reader: None,
            arrived: Vec::new(),
            read: Vec::new(),
            dropped: Vec::new(),
            delivered: Vec::new(),
            ended_by: None,
        }
    }

    /// From here on another task reads, all the time.
    pub(crate) fn read_on_another_task(&mut self) {
        let (seen, events) = mpsc::unbounded_channel();
        let mut half = self.sink.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = half.next().await {
                if seen.send(event).is_err() {
                    return;
                }
            }
        });
        self.reader = Some(Reader { events, task });
    }

    /// The next event, checked against the lifecycle and noted.
    pub(crate) async fn event(&mut self) -> Option<Event<H::Message>> {
        let event = match &mut self.reader {
            None => self.sink.next().await,
            Some(reader) => reader.next().await,
        };
        self.note(event.as_ref());
        event
    }

    fn note(&mut self, event: Option<&Event<H::Message>>) {
        self.lifecycle.see(event);
        let number = |message| self.suite.number(message);
        match event {
            Some(Event::Message(message)) => self.read.extend(number(message)),
            Some(Event::Delivered(item)) => self.delivered.extend(number(&item.message)),
            Some(Event::Dropped(item, reason)) => {
                self.dropped.extend(number(&item.message).map(|n| (n, reason.clone())));
            }
            Some(Event::Down(down)) => self.ended_by = Some(down.cause.clone()),
            _ => {}
        }
    }

    /// Notes what has come up already, without waiting.
    pub(crate) fn catch_up(&mut self) {
        while let Some(event) = self.reader.as_mut().and_then(|reader| reader.events.try_recv().ok()) {
            self.note(Some(&event));
        }
    }

    /// Reads up to the next `Up`.
    pub(crate) async fn up(&mut self) -> u64 {
        self.suite.at("waiting for `Up`");
        loop {
            match self.event().await {
                Some(Event::Up(up)) => return up.epoch,
                Some(_) => {}
                None => broken("`Up`", "`None`"),
            }
        }
    }

    /// Reads up to the next `Down`.
    pub(crate) async fn down(&mut self) {
        self.suite.at("waiting for `Down`");
        loop {
            match self.event().await {
                Some(Event::Down(_)) => return,
                Some(_) => {}
                None => broken("`Down`", "`None`"),
            }
        }
    }

    /// The peer sends this message, and it is read.
    pub(crate) async fn hear(&mut self, n: u64) {
        self.suite.at("reading a message of the peer");
        let suite = self.suite;
        let mut sink = self.sink.clone();
        let read = async {
            let mut events = Vec::new();
            loop {
                let event = sink.next().await;
                let heard = match &event {
                    Some(Event::Message(message)) => suite.number(message) == Some(n),
                    Some(_) => false,
                    None => true,
                };
                events.push(event);
                if heard {
                    return events;
                }
            }
        };
        let (_, events) = join(self.peer.send(suite.message(n)), read).await;
        events.iter().for_each(|event| self.note(event.as_ref()));
    }

    /// The peer ends the connection, as harshly as it can. False if it cannot.
    pub(crate) async fn cut(&mut self) -> bool {
        self.suite.at("waiting for the peer to end the connection");
        self.peer.abort().await.is_ok() || self.peer.close().await.is_ok()
    }

    pub(crate) async fn ready(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await
    }

    /// One poll of a flush.
    pub(crate) async fn push(&mut self) -> Poll<Result<(), Closed>> {
        poll_fn(|cx| Poll::Ready(self.sink.poll_flush_unpin(cx))).await
    }

    pub(crate) fn start_send(&mut self, item: Outgoing<H::Message>) -> Result<(), Closed> {
        self.sink.start_send_unpin(item)
    }

    /// A numbered message with a ticket.
    pub(crate) fn item(&self, n: u64) -> (Outgoing<H::Message>, Ticket) {
        let ticket = Ticket::new();
        (Outgoing::new(self.suite.message(n)).ticket(ticket.clone()), ticket)
    }

    /// Writes until the sink is not ready, and gives what it took. If that cannot be had, says why,
    /// and gives what it took all the same: it may arrive.
    pub(crate) async fn jam(&mut self) -> Result<Jam, (&'static str, Jam)> {
        self.suite.at("filling the connection while the peer does not read");
        if self.peer.stall().await.is_err() {
            return Err(("the peer cannot stop reading", Vec::new()));
        }
        let mut sent = Vec::new();
        for n in 0..MOST {
            match timeout(SETTLE, self.ready()).await {
                Err(_) => return Ok(sent),
                Ok(Err(error)) => broken("a sink that is ready or waits", error),
                Ok(Ok(())) => {}
            }
            let (item, ticket) = self.item(n);
            if let Err(error) = self.start_send(item) {
                broken("a ready sink that takes a message", error);
            }
            sent.push((n, ticket));
            let _ = self.push().await;
        }
        Err(("the sink stays ready however much is written", sent))
    }

    /// The peer's next message. With a layer that redials, from whichever connection there is.
    pub(crate) async fn arrival(&mut self) -> Option<u64> {
        loop {
            match self.peer.recv().await {
                Some(message) => {
                    if let Some(n) = self.suite.number(&message) {
                        self.arrived.push(n);
                        return Some(n);
                    }
                }
                None if self.suite.traits.redials => sleep(SETTLE).await,
                None => return None,
            }
        }
    }

    /// Flushes while the peer reads, until everything in `awaited` has arrived.
    pub(crate) async fn drain_until(&mut self, awaited: &[u64]) {
        let mut sink = self.sink.clone();
        let flush = pin!(async {
            // An error shows in what does not arrive.
            let _ = sink.flush().await;
            pending::<()>().await;
        });
        let arrive = pin!(async {
            while !awaited.iter().all(|n| self.arrived.contains(n)) {
                if self.arrival().await.is_none() {
                    broken(
                        format!("the peer gets {awaited:?}"),
                        format!("the end, after {:?}", self.arrived),
                    );
                }
            }
        });
        select(arrive, flush).await;
    }

    /// Closes without reading, then reads to the end, while the peer reads all along.
    pub(crate) async fn finish(&mut self) {
        self.suite.at("closing, while the peer reads");
        let mut sink = self.sink.clone();
        // An error says that the connection was closed already.
        let _ = self.while_peer_reads(async { sink.close().await }).await;
        self.suite.at("reading to the end after closing");
        let mut own = self.sink.clone();
        let mut reader = self.reader.take();
        let read = async {
            let mut events = Vec::new();
            loop {
                let event = match &mut reader {
                    None => own.next().await,
                    Some(reader) => reader.next().await,
                };
                match event {
                    Some(event) => events.push(event),
                    None => return events,
                }
            }
        };
        let events = self.while_peer_reads(read).await;
        for event in &events {
            self.note(Some(event));
        }
        self.note(None);
    }

    async fn while_peer_reads<T>(&mut self, work: impl Future<Output = T>) -> T {
        let (peer, arrived, suite) = (&mut self.peer, &mut self.arrived, self.suite);
        let reads = pin!(async {
            while let Some(message) = peer.recv().await {
                arrived.extend(suite.number(&message));
            }
            let _ = peer.close().await;
            pending::<()>().await;
        });
        match select(pin!(work), reads).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => unreachable!("the peer reads for ever"),
        }
    }
}

impl<M> Reader<M> {
    async fn next(&mut self) -> Option<Event<M>> {
        let event = self.events.recv().await;
        if event.is_none()
            && let Err(error) = (&mut self.task).await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        event
    }
}

impl<M> Drop for Reader<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Half ===

impl<C> Half<C> {
    fn lock(&self) -> MutexGuard<'_, Pin<Box<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Clone for Half<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Connection> Stream for Half<C> {
    type Item = Event<C::Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lock().as_mut().poll_next(cx)
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for Half<C> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.lock().as_mut().poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        self.lock().as_mut().start_send(item)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.lock().as_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.lock().as_mut().poll_close(cx)
    }
}
