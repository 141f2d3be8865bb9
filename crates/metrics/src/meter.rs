use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Waker},
};

use metrics::Label;
use tower_ws_core::{Event, FailureKind, Lane, Measure};

use crate::{
    link::{self, Link},
    register::Scope,
    session::{self, Session},
    traffic::{self, Size, Traffic},
};

/// Where in the stack the layer stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Height {
    Session,
    Connection,
}

/// The handles of one height and label. All sessions share them: there are hundreds.
pub(crate) struct Meters {
    traffic: Arc<traffic::Meters>,
    watch: WatchMeters,
}

enum WatchMeters {
    Session(Arc<session::Meters>),
    Connection(Arc<link::Meters>),
}

/// Handles that somebody may still have.
struct Registered {
    /// The recorder that made them, by its address: recorders have no other identity. One that is
    /// installed for all of the process stays there.
    recorder: usize,
    height: Height,
    label: Option<Label>,
    meters: Weak<Meters>,
}

/// Those that somebody still has.
fn registered() -> MutexGuard<'static, Vec<Registered>> {
    static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.retain(|one| one.meters.strong_count() > 0);
    registered
}

/// What measures one session, or one connection, from its dial to its end.
pub(crate) struct Meter<M> {
    /// Those who come later find them.
    _meters: Arc<Meters>,
    measure: M,
    traffic: Traffic,
    /// Messages have passed, or something has become of them, since the numbers of the layers below
    /// were published.
    passed: bool,
    /// Whoever reads, if nothing would wake him for those numbers.
    reader: Option<Waker>,
    pub(crate) watch: Watch,
}

/// Begins with the call; whatever it holds open ends when it is dropped.
pub(crate) enum Watch {
    Session(Session),
    Connection(Link),
}

// === impl Meters ===

impl Meters {
    /// Those of the recorder that is installed now: new ones only if nobody has any.
    pub(crate) fn of(height: Height, label: Option<&Label>) -> Arc<Self> {
        let recorder = metrics::with_recorder(|recorder| std::ptr::from_ref(recorder).addr());
        let known = |registered: &[Registered]| {
            let known = registered
                .iter()
                .find(|one| (one.recorder, one.height, one.label.as_ref()) == (recorder, height, label));
            known.and_then(|one| one.meters.upgrade())
        };
        if let Some(meters) = known(&registered()) {
            return meters;
        }
        // The recorder may do anything meanwhile, also build a stack: nothing is locked.
        let new = Arc::new(Self::register(height, label));
        let mut registered = registered();
        // Somebody may have been faster.
        if let Some(meters) = known(&registered) {
            drop(registered);
            return meters;
        }
        registered.push(Registered {
            recorder,
            height,
            label: label.cloned(),
            meters: Arc::downgrade(&new),
        });
        new
    }

    fn register(height: Height, label: Option<&Label>) -> Self {
        let scope = |height| Scope::new(Some(height), label.cloned());
        match height {
            Height::Session => Self {
                watch: WatchMeters::Session(Arc::new(session::Meters::new(&scope("session")))),
                traffic: Arc::new(traffic::Meters::new(scope("session"))),
            },
            Height::Connection => Self {
                watch: WatchMeters::Connection(Arc::new(link::Meters::new(&scope("connection")))),
                traffic: Arc::new(traffic::Meters::new(scope("connection"))),
            },
        }
    }
}

// === impl Meter ===

impl<M> Meter<M> {
    pub(crate) fn new(meters: &Arc<Meters>, measure: M) -> Self {
        Self {
            _meters: meters.clone(),
            measure,
            traffic: Traffic::new(meters.traffic.clone()),
            passed: false,
            reader: None,
            watch: match &meters.watch {
                WatchMeters::Session(meters) => Watch::Session(Session::begin(meters.clone())),
                WatchMeters::Connection(meters) => Watch::Connection(Link::dial(meters.clone())),
            },
        }
    }

    /// Counts an event that is about to be passed on; `None` is the end.
    pub(crate) fn saw<T>(&mut self, event: Option<&Event<T>>)
    where
        M: Measure<T>,
    {
        match event {
            Some(Event::Message(message)) => {
                let size = self.size(message);
                self.traffic.received(size);
                self.passed = true;
            }
            Some(Event::Dropped(item, reason)) => {
                self.traffic.dropped(item.lane, reason);
                self.passed = true;
            }
            Some(Event::Delivered(_)) => self.passed = true,
            _ => {}
        }
        match &mut self.watch {
            Watch::Session(session) => session.saw(event),
            Watch::Connection(link) => link.saw(event),
        }
    }

    pub(crate) fn size<T>(&self, message: &T) -> Size
    where
        M: Measure<T>,
    {
        Size {
            kind: self.measure.kind(message),
            bytes: self.measure.bytes(message) as u64,
        }
    }

    /// Counts a message that the sink below has accepted.
    pub(crate) fn sent(&mut self, lane: Lane, size: Size) {
        self.traffic.sent(lane, size);
        if !std::mem::replace(&mut self.passed, true)
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    /// Publishes the numbers of the layers below when it is time to. If they are about to change, the
    /// task that polls is woken when it is time again.
    pub(crate) fn publish(&mut self, cx: &mut Context<'_>) {
        let Watch::Session(session) = &mut self.watch else {
            return;
        };
        if session.publish(self.passed, cx) {
            self.passed = false;
        }
        if self.passed {
            return;
        }
        // Another task may write, while nothing comes in.
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// What `Up` calls the layer. The two heights have names of their own: each is wrong at the
    /// other's.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Session(_) => "session-metrics",
            Self::Connection(_) => "connection-metrics",
        }
    }

    /// The service below has answered with a connection.
    pub(crate) fn connected(&mut self) {
        if let Self::Connection(link) = self {
            link.connected();
        }
    }

    /// The service below has answered with an error.
    pub(crate) fn failed(&mut self, kind: FailureKind, status: Option<u16>) {
        match self {
            Self::Session(session) => session.failed(kind),
            Self::Connection(link) => link.failed(kind, status),
        }
    }

    /// This side closes.
    pub(crate) fn closing(&mut self) {
        if let Self::Session(session) = self {
            session.closing();
        }
    }
}
