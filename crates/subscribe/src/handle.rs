use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures_util::task::AtomicWaker;
use tokio::sync::broadcast;
use tower_ws_core::{Lease, Reading, Readings, Shared, Unit, Value};

use crate::{
    entry::Entry,
    feed::{Feed, Lag},
    standing::Ask,
    subscription::Subscription,
    update::{Ended, Update},
};

/// Watches the subscriptions of a session, and makes new ones. Cheap to clone, works from any
/// thread.
///
/// [`SubscribeLayer::pair`](crate::SubscribeLayer::pair) gives one out before there is a session;
/// the session's own is in the extensions of each [`Up`](tower_ws_core::Up). A handle never keeps a
/// session alive.
pub struct Handle<M>(pub(crate) Shared<Hub<M>>);

/// How many may be asked for before the session looks: as many as may stand by default.
const ASKS: usize = 1024;

/// What a session and its handles share.
pub(crate) struct Hub<M> {
    state: Mutex<State<M>>,
    changes: broadcast::Sender<Change>,
    /// The session's reader.
    reader: AtomicWaker,
    /// There is something to take up.
    news: AtomicBool,
}

struct State<M> {
    /// What the layer has yet to take up.
    asks: Vec<Ask<M>>,
    /// Feeds that nobody reads any more.
    gone: Vec<u64>,
    next_feed: u64,
    /// The last session is over, and there is no other yet.
    over: bool,
    snapshot: Snapshot,
}

/// A session's end of the [`Hub`].
pub(crate) struct Session<M>(Lease<Hub<M>>);

/// The subscriptions of a session at one moment. Counts only rise, also from one session of the
/// same [`pair`](crate::SubscribeLayer::pair) to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many stand.
    pub standing: usize,
    /// The size of the messages that begin them, in bytes.
    pub bytes: usize,
    /// How many the server has, as far as is known.
    pub active: usize,
    /// How often the layer has said one.
    pub said: u64,
    /// How many were refused, by the server or for want of room.
    pub refused: u64,
    /// How many messages came twice, by their sequence numbers.
    pub duplicates: u64,
    /// How many sequence numbers are missing.
    pub missed: u64,
}

/// What has become of one subscription, among others. Its `Debug` leaves the name out: it may hold a
/// secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Change {
    /// The name by which the application knows it: an id as JSON text, a channel. Empty while it
    /// has none.
    pub name: Box<str>,
    /// What has become of it.
    pub update: Update,
}

impl<M> Handle<M> {
    /// How many changes are kept for who is slow to receive them: 2,048, the loss of as many
    /// subscriptions as there may be by default, and their return.
    pub const LAG: usize = 2048;

    /// How many items of one subscription wait to be read by default: 256, as many as a client
    /// keeps of what its peer says.
    pub const ROOM: usize = 256;

    /// Where the session stands now. All zero before there is one.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().snapshot
    }

    /// What becomes of all subscriptions of the session, from now on. Who falls [`LAG`](Self::LAG)
    /// behind loses the oldest, and is told so by
    /// [`RecvError::Lagged`](broadcast::error::RecvError::Lagged).
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Subscribes by this message, which is said on each connection from now on, and gives what
    /// comes in under it: 256 items may wait to be read, then the oldest goes.
    ///
    /// The message is as the application would send it; a number of request in it is replaced.
    /// Nothing of it is seen by the layers above. It ends, with the reason, as the last item of the
    /// stream: at once, if there is no room for it. Before there is a session it waits for one;
    /// what waits so is bounded by number alone.
    pub fn subscribe(&self, message: M) -> Subscription<M> {
        self.begin(message, None, Self::ROOM, Lag::default())
    }

    /// The same, with the number of items that may wait to be read, at least 1, and what happens
    /// when there are as many: with [`Lag::Wait`] all that the session hears waits, with
    /// [`Lag::Close`] this subscription ends, as [`Ended::Lagged`]. They are bounded by size too, at
    /// 16 MiB.
    pub fn subscribe_with(&self, message: M, room: usize, lag: Lag) -> Subscription<M> {
        self.begin(message, None, room, lag)
    }

    pub(crate) fn begin(&self, message: M, undo: Option<Box<str>>, room: usize, lag: Lag) -> Subscription<M> {
        let mut state = self.0.lock();
        state.next_feed += 1;
        let feed = Feed::new(state.next_feed, room, lag);
        let refused = if state.over {
            Some(Ended::Closed(None))
        } else if state.asks.len() >= ASKS {
            let (what, limit) = ("number", ASKS);
            Some(Ended::NoRoom { what, limit })
        } else {
            let feed = Some(feed.clone());
            state.asks.push(Ask { message, undo, feed });
            None
        };
        drop(state);
        match refused {
            Some(why) => feed.end(why),
            None => self.0.has_news(),
        }
        Subscription::new(self.clone(), feed)
    }

    /// Nobody reads this any more.
    pub(crate) fn let_go(&self, feed: &Feed<M>) {
        if !feed.close() {
            return;
        }
        let mut state = self.0.lock();
        let is_its = |ask: &Ask<M>| ask.feed.as_ref().is_some_and(|other| other.id == feed.id);
        match state.asks.iter().position(is_its) {
            // The layer has not heard of it.
            Some(at) => drop(state.asks.remove(at)),
            None => {
                state.gone.push(feed.id);
                drop(state);
                self.0.has_news();
            }
        }
    }
}

impl<M> Hub<M> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                asks: Vec::new(),
                gone: Vec::new(),
                next_feed: 0,
                over: false,
                snapshot: Snapshot::default(),
            }),
            changes: broadcast::Sender::new(Handle::<M>::LAG),
            reader: AtomicWaker::new(),
            news: AtomicBool::new(false),
        }
    }

    fn has_news(&self) {
        self.news.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Session<M> {
    pub(crate) fn begin(pair: Option<&Shared<Hub<M>>>) -> Self {
        let session = Self(Lease::of(pair, Hub::new));
        session.0.lock().over = false;
        session
    }

    pub(crate) fn handle(&self) -> Handle<M> {
        Handle(self.0.shared())
    }

    /// The counts of the sessions before, from which those of this one rise.
    pub(crate) fn counts(&self) -> Snapshot {
        self.0.lock().snapshot
    }

    /// What the handles ask for: new ones, and those that nobody reads any more.
    pub(crate) fn take(&self) -> Option<(Vec<Ask<M>>, Vec<u64>)> {
        // A look for each message: without the lock, and without a write.
        if !self.0.news.load(Ordering::Acquire) {
            return None;
        }
        self.0.news.store(false, Ordering::Release);
        let mut state = self.0.lock();
        Some((std::mem::take(&mut state.asks), std::mem::take(&mut state.gone)))
    }

    /// Wakes this task when the handles ask for something. True if they have.
    pub(crate) fn register(&self, cx: &Context<'_>) -> bool {
        self.0.reader.register(cx.waker());
        self.0.news.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, now: Snapshot, changes: Vec<Change>) {
        self.0.lock().snapshot = now;
        for change in changes {
            // Nobody listens: an error.
            let _ = self.0.changes.send(change);
        }
    }
}

impl<M> Drop for Session<M> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        state.gone.clear();
        (state.snapshot.standing, state.snapshot.bytes, state.snapshot.active) = (0, 0, 0);
        let asks = std::mem::take(&mut state.asks);
        drop(state);
        for feed in asks.into_iter().filter_map(|ask| ask.feed) {
            feed.end(Ended::Closed(None));
        }
    }
}

impl<M> Readings for Hub<M>
where
    M: Send,
{
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let now = self.lock().snapshot;
        for (state, count) in [
            ("active", now.active),
            ("waiting", now.standing.saturating_sub(now.active)),
        ] {
            let text = "subscriptions that stand, by whether the server has them";
            show(Reading::new("subscribe_subscriptions", text, Value::Gauge(count as f64)).label("state", state));
        }
        let text = "the messages that begin subscriptions";
        show(Reading::new("subscribe_bytes", text, Value::Gauge(now.bytes as f64)).unit(Unit::Bytes));
        for (name, text, count) in [
            (
                "subscribe_said_total",
                "subscriptions said to a server, again or first",
                now.said,
            ),
            (
                "subscribe_refused_total",
                "subscriptions that were refused",
                now.refused,
            ),
            (
                "subscribe_duplicates_total",
                "messages that came twice, by their sequence numbers",
                now.duplicates,
            ),
            (
                "subscribe_missed_total",
                "sequence numbers that are missing",
                now.missed,
            ),
        ] {
            show(Reading::new(name, text, Value::Counter(count)));
        }
    }
}

impl Change {
    pub(crate) fn new<M>(entry: &Entry<M>, update: Update) -> Self {
        Self {
            name: entry.title(),
            update,
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("name_bytes", &self.name.len())
            .field("update", &self.update)
            .finish()
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}
