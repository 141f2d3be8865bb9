use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Context,
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
    /// The recorder that made them, by its address: it lives as long as they are used.
    recorder: usize,
    height: Height,
    label: Option<Label>,
    meters: Weak<Meters>,
}

static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// What measures one session, or one connection, from its dial to its end.
pub(crate) struct Meter<M> {
    /// Those who come later find them.
    _meters: Arc<Meters>,
    measure: M,
    traffic: Traffic,
    /// Messages have passed since the numbers of the layers below were published.
    passed: bool,
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
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.retain(|one| one.meters.strong_count() > 0);
        let known = registered
            .iter()
            .find(|one| (one.recorder, one.height, one.label.as_ref()) == (recorder, height, label));
        if let Some(meters) = known.and_then(|one| one.meters.upgrade()) {
            return meters;
        }
        let meters = Arc::new(Self::register(height, label));
        registered.push(Registered {
            recorder,
            height,
            label: label.cloned(),
            meters: Arc::downgrade(&meters),
        });
        meters
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
            Some(Event::Dropped(item, reason)) => self.traffic.dropped(item.lane, reason),
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
        self.passed = true;
    }

    /// Publishes the numbers of the layers below when it is time to. If they are about to change, the
    /// task that polls is woken when it is time again.
    pub(crate) fn publish(&mut self, cx: &mut Context<'_>) {
        if let Watch::Session(session) = &mut self.watch
            && session.publish(self.passed, cx)
        {
            self.passed = false;
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
