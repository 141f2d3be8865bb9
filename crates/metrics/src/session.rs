use std::{sync::Arc, task::Context};

use metrics::{Counter, Gauge, Histogram};
use tokio::time::Instant;
use tower_ws_core::{Down, EndCause, Event, FailureKind, Up};

use crate::{
    names::SESSION,
    readings::{Catalog, Reader},
    register::{Family, Held, Scope},
    words,
};

/// The word for a session that nobody ended in order.
const DROPPED: &str = "dropped";

/// The handles of all sessions with the same label.
pub(crate) struct Meters {
    below: Arc<Catalog>,
    open: Gauge,
    up: Gauge,
    ups: Counter,
    reconnects: Counter,
    delivered: Counter,
    downs_to_retry: Family,
    downs_for_good: Family,
    closes: Family,
    ends: Family,
    uptime: Histogram,
    recovered: Histogram,
    abandoned: Histogram,
}

/// One session, from the call that begins it to its end.
pub(crate) struct Session {
    meters: Arc<Meters>,
    /// `None` once it has ended.
    open: Option<Held>,
    up: Option<Uptime>,
    outage: Option<Instant>,
    been_up: bool,
    closing: bool,
    end_cause: Option<EndCause>,
    last_cause: Option<FailureKind>,
    below: Reader,
}

/// A connection that is up. Recorded when it is dropped.
struct Uptime {
    since: Instant,
    uptime: Histogram,
    _up: Held,
}

// === impl Meters ===

impl Meters {
    pub(crate) fn new(scope: &Scope) -> Self {
        scope.describe(SESSION);
        let downs = |next| scope.family("downs_total", &[("next", next)], "cause", words::causes());
        let outage = |outcome| scope.histogram("outage_seconds", &[("outcome", outcome)]);
        Self {
            below: Arc::new(Catalog::new(scope.label().cloned())),
            open: scope.gauge("open", &[]),
            up: scope.gauge("up", &[]),
            ups: scope.counter("ups_total", &[]),
            reconnects: scope.counter("reconnects_total", &[]),
            delivered: scope.counter("messages_delivered_total", &[]),
            downs_to_retry: downs("retry"),
            downs_for_good: downs("final"),
            closes: scope.family("closes_total", &[], "code", words::codes()),
            ends: scope.family("ends_total", &[], "cause", words::causes().chain([DROPPED])),
            uptime: scope.histogram("uptime_seconds", &[]),
            recovered: outage("recovered"),
            abandoned: outage("abandoned"),
        }
    }
}

// === impl Session ===

impl Session {
    pub(crate) fn begin(meters: Arc<Meters>) -> Self {
        let below = Reader::new(meters.below.clone());
        Self {
            open: Some(Held::new(&meters.open)),
            up: None,
            outage: None,
            been_up: false,
            closing: false,
            end_cause: None,
            last_cause: None,
            below,
            meters,
        }
    }

    /// It never came up.
    pub(crate) fn failed(&mut self, kind: FailureKind) {
        self.end(kind.as_str());
    }

    pub(crate) fn closing(&mut self) {
        self.closing = true;
    }

    pub(crate) fn saw<T>(&mut self, event: Option<&Event<T>>) {
        match event {
            Some(Event::Up(up)) => self.came_up(up),
            Some(Event::Delivered(_)) => self.meters.delivered.increment(1),
            Some(Event::Down(down)) => self.went_down(down),
            Some(_) => {}
            None => self.ended(),
        }
    }

    fn came_up(&mut self, up: &Up) {
        if let Some(since) = self.outage.take() {
            self.meters.recovered.record(since.elapsed());
        }
        self.meters.ups.increment(1);
        if std::mem::replace(&mut self.been_up, true) {
            self.meters.reconnects.increment(1);
        }
        self.below.came_up(up.sources());
        self.end_cause = up.extensions.get().cloned();
        self.up = Some(Uptime {
            since: Instant::now(),
            uptime: self.meters.uptime.clone(),
            _up: Held::new(&self.meters.up),
        });
    }

    /// Publishes the numbers of the layers below when it is time to: true if it was. The task that
    /// polls is woken for it unless it is idle: if messages have `passed` since the last time, if
    /// something is held, or in an outage.
    pub(crate) fn publish(&mut self, passed: bool, cx: &mut Context<'_>) -> bool {
        self.below.poll(passed, cx)
    }

    fn went_down(&mut self, down: &Down) {
        self.below.went_down();
        self.up = None;
        let cause = down.cause.kind();
        self.last_cause = Some(cause);
        if let Some(close) = down.cause.close() {
            self.meters.closes.count(words::code(close));
        }
        if down.will_retry {
            self.meters.downs_to_retry.count(cause.as_str());
            self.outage = Some(Instant::now());
        } else {
            self.meters.downs_for_good.count(cause.as_str());
            self.end(cause.as_str());
        }
    }

    /// It ended between two connections, unless that has been told.
    fn ended(&mut self) {
        let cause = match self.end_cause.as_ref().and_then(EndCause::get) {
            Some(cause) => cause.kind(),
            None if self.closing => FailureKind::Local,
            None => self.last_cause.unwrap_or(FailureKind::Local),
        };
        self.end(cause.as_str());
    }

    fn end(&mut self, cause: &'static str) {
        self.up = None;
        if self.open.take().is_none() {
            return;
        }
        // What the layers below held, they hold no more.
        self.below.read();
        self.meters.ends.count(cause);
        if let Some(since) = self.outage.take() {
            self.meters.abandoned.record(since.elapsed());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(DROPPED);
    }
}

// === impl Uptime ===

impl Drop for Uptime {
    fn drop(&mut self) {
        self.uptime.record(self.since.elapsed());
    }
}
