use std::{sync::Arc, task::Context};

use metrics::Label;
use tower_ws_core::{Event, FailureKind, Lane, Measure};

use crate::{
    link::{self, Link},
    register::Scope,
    session::{self, Session},
    traffic::{self, Size, Traffic},
};

/// Where in the stack the layer stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Height {
    Session,
    Connection,
}

/// The handles of one stack. Clones share them.
#[derive(Clone)]
pub(crate) struct Meters {
    traffic: Arc<traffic::Meters>,
    watch: WatchMeters,
}

#[derive(Clone)]
enum WatchMeters {
    Session(Arc<session::Meters>),
    Connection(Arc<link::Meters>),
}

/// What measures one session, or one connection, from its dial to its end.
pub(crate) struct Meter<M> {
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
    pub(crate) fn new(height: Height, label: Option<&Label>) -> Self {
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
    pub(crate) fn new(meters: &Meters, measure: M) -> Self {
        Self {
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
