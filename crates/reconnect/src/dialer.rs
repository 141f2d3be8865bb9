use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{Alarm, BoxError, Clock, Disposition, DispositionTable, Failure, FailureKind, Up, later};
use tracing::{Instrument, instrument::Instrumented};

use crate::{
    budget::{Booking, Budget},
    error::ReconnectError,
    layer::Settings,
    outage::Outage,
    policy::{Decision, Policy},
    refusals::Refusals,
    report::{Follows, Incident, Reporter},
    session::Session,
};

/// Gets connections: backs off, readies the service, dials. It is a session without its connection.
///
/// The call in progress is pinned, so it lives with whoever holds this, and is passed in.
pub(crate) struct Dialer<S, T, P> {
    service: S,
    target: T,
    policy: P,
    rng: fastrand::Rng,
    clock: Arc<dyn Clock>,
    dispositions: DispositionTable,
    reporter: Arc<dyn Reporter>,
    outage: Outage,
    refusals: Refusals,
    budget: Option<Budget>,
    /// Held for the next attempt, while it waits.
    booking: Option<Booking>,
    session: Session,
    fail_fast: bool,
    /// As last seen at the hub.
    offline: bool,
    step: Step,
    alarm: Alarm,
}

enum Step {
    /// The service came readied.
    Readied,
    /// Nothing is dialled before this moment.
    /// Without a shared budget this would be `wanted`.
    BackingOff {
        wanted: Instant,
        until: Instant,
        cause: Failure,
    },
    /// An attempt has begun: the service is readied, then called.
    Dialling,
}

impl<S, T, P> Dialer<S, T, P> {
    pub(crate) fn new(readied: S, target: T, policy: P, settings: &Settings) -> Self {
        Self {
            service: readied,
            target,
            policy,
            rng: settings.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            clock: settings.clock.clone(),
            dispositions: settings.dispositions.clone(),
            reporter: settings.reporter.clone(),
            outage: Outage::new(Instant::now(), settings.healthy_after, settings.min_spacing),
            refusals: Refusals::new(settings.refusals_final_after),
            budget: settings.budget.clone(),
            booking: None,
            session: Session::begin(settings.hub.as_ref()),
            fail_fast: settings.fail_fast,
            offline: false,
            step: Step::Readied,
            alarm: Alarm::default(),
        }
    }

    /// A failure as this session judges it.
    pub(crate) fn judge(&self, failure: Failure) -> Failure {
        self.dispositions.judge(failure)
    }

    /// A failed dial as this session judges it: once it has been up, a refusal has to last.
    fn refused(&mut self, failure: Failure) -> Failure {
        let failure = self.judge(failure);
        match self.session.epoch() {
            0 => failure,
            _ => self.refusals.judge(Instant::now(), failure),
        }
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, up: &Up) -> u64 {
        self.refusals.end();
        self.session.connected(up)
    }

    /// When the next attempt is to begin, if it has not begun and nobody holds it back.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.step {
            Step::BackingOff { until, .. } if !self.offline => Some(*until),
            _ => None,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.session.epoch()
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Has commands wake this task. False: one came in meanwhile, look again.
    pub(crate) fn register_for_commands(&self, cx: &Context<'_>) -> bool {
        self.session.register_for_commands(cx, self.offline)
    }

    /// While connected: why the connection is to be left, if a command says so.
    pub(crate) fn asked_to_leave(&mut self) -> Option<&'static str> {
        let reconnect = self.session.take_reconnect();
        let offline = self.session.is_offline();
        let was_offline = std::mem::replace(&mut self.offline, offline);
        match (offline && !was_offline, reconnect) {
            (true, _) => Some("closed by this side to go offline, on request"),
            (_, true) => Some("closed by this side to connect anew, on request"),
            _ => None,
        }
    }

    /// The connection was left on request.
    pub(crate) fn left(&mut self, cause: &Failure, uptime: Duration) {
        self.outage.left(Instant::now(), uptime);
        self.back_off(Duration::ZERO, cause);
    }

    /// How the session fared, when it gave up before it had a connection.
    pub(crate) fn gave_up(&self, cause: Failure) -> ReconnectError {
        ReconnectError::GaveUp {
            attempts: self.outage.attempts(),
            elapsed: self.outage.elapsed(Instant::now()),
            cause,
        }
    }

    /// Plans the next attempt, no sooner than the spacing and the shared budget allow. Returns the
    /// delay, without what the budget adds to it.
    fn back_off(&mut self, delay: Duration, cause: &Failure) -> Duration {
        let now = Instant::now();
        let wanted = later(now, delay).max(self.outage.earliest().unwrap_or(now));
        let until = self.book(now, wanted);
        if self.offline {
            self.session.offline();
        } else {
            self.session
                .backing_off(self.outage.next_attempt(), until, cause, self.refusals.final_at());
        }
        self.step = Step::BackingOff {
            wanted,
            until,
            cause: cause.clone(),
        };
        wanted - now
    }

    /// When the shared budget lets an attempt begin that should begin at `wanted`.
    fn book(&mut self, now: Instant, wanted: Instant) -> Instant {
        let held = self.booking.take();
        match &self.budget {
            Some(budget) if !self.offline => self.booking.insert(budget.book(now, wanted, held)).at(),
            _ => wanted,
        }
    }

    /// The first attempt: true if the shared budget puts it off.
    fn is_put_off(&mut self) -> bool {
        let now = Instant::now();
        if self.book(now, now) <= now {
            return false;
        }
        let cause = Failure::new(
            FailureKind::Policy,
            "the budget that sessions share has no dial left for now",
        );
        self.back_off(Duration::ZERO, &cause.with_disposition(Disposition::Backoff));
        true
    }
}

impl<S, T, P: Policy> Dialer<S, T, P> {
    /// The connection was lost. False when the policy gives up.
    pub(crate) fn lost(&mut self, cause: &Failure, uptime: Duration) -> bool {
        let now = Instant::now();
        self.outage.lost(now, uptime);
        if cause.disposition() == Disposition::RefreshCredentials {
            self.refusals.sent_away(now);
        }
        self.consult(cause, Some(uptime))
    }

    /// The dial failed. False when the policy gives up.
    pub(crate) fn failed(&mut self, cause: &Failure) -> bool {
        self.outage.failed();
        self.consult(cause, None)
    }

    fn consult(&mut self, cause: &Failure, uptime: Option<Duration>) -> bool {
        let asked = cause.retry_after().map(|asked| asked.delay(self.clock.now()));
        let history = self.outage.history(Instant::now(), uptime, asked, self.rng.f64());
        let decision = match self.fail_fast && self.session.epoch() == 0 {
            true => Decision::GiveUp,
            false => self.policy.decide(cause, &history),
        };
        let follows = match decision {
            Decision::GiveUp => Follows::End,
            Decision::RetryAfter(delay) => {
                let delay = self.back_off(delay, cause);
                self.outage.retry(cause.clone(), delay);
                match self.offline {
                    true => Follows::Offline,
                    false => Follows::Retry(delay),
                }
            }
        };
        self.reporter.report(&Incident {
            failure: cause.clone(),
            epoch: self.session.epoch(),
            server: uptime.and_then(|_| self.session.server().cloned()),
            uptime,
            attempt: self.outage.next_attempt(),
            follows,
            final_at: self.refusals.final_at(),
        });
        let ends = follows == Follows::End;
        if ends {
            self.session.failed(cause);
        }
        !ends
    }
}

impl<S, T, P> Dialer<S, T, P>
where
    S: Service<T, Error: Into<BoxError>>,
    T: Clone,
    P: Policy,
{
    /// Resolves to a connection, or to the cause when the policy gives up.
    /// [Register](Self::register_for_commands) when it is pending.
    pub(crate) fn poll_dial(
        &mut self,
        mut call: Pin<&mut Option<Instrumented<S::Future>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, Failure>> {
        self.obey(call.as_mut());
        loop {
            if self.offline {
                return Poll::Pending;
            }
            let failure = if let Some(dialling) = call.as_mut().as_pin_mut() {
                let polled = ready!(dialling.poll(cx));
                call.set(None);
                match polled {
                    Ok(connection) => return Poll::Ready(Ok(connection)),
                    Err(error) => self.refused(Failure::of(error)),
                }
            } else {
                match self.step {
                    Step::Readied => {
                        if !self.is_put_off() {
                            self.begin();
                            self.dial(call.as_mut());
                        }
                        continue;
                    }
                    Step::BackingOff { until, ref cause, .. } => {
                        let cause = cause.clone();
                        ready!(self.alarm.poll(until, Instant::now(), cx));
                        match &self.booking {
                            // Nobody read for so long that others' turns have come.
                            Some(booking) if booking.is_missed(Instant::now()) => {
                                self.back_off(Duration::ZERO, &cause);
                            }
                            _ => self.begin(),
                        }
                        continue;
                    }
                    Step::Dialling => match ready!(self.service.poll_ready(cx)) {
                        Ok(()) => {
                            self.dial(call.as_mut());
                            continue;
                        }
                        // By the contract of `Service` it will never be ready again.
                        Err(error) => self.judge(Failure::of(error).with_disposition(Disposition::Final)),
                    },
                }
            };
            if !self.failed(&failure) {
                return Poll::Ready(Err(failure));
            }
        }
    }

    fn begin(&mut self) {
        if let Some(booking) = self.booking.take() {
            booking.spend();
        }
        self.outage.begin(Instant::now());
        self.session
            .connecting(self.outage.next_attempt(), self.outage.previous().cloned());
        self.step = Step::Dialling;
    }

    fn dial(&mut self, mut call: Pin<&mut Option<Instrumented<S::Future>>>) {
        self.outage.dial(Instant::now());
        let span = self.session.dial_span();
        let dialling = span.in_scope(|| self.service.call(self.target.clone()));
        call.set(Some(dialling.instrument(span)));
    }

    /// Does what the handles ask for.
    fn obey(&mut self, mut call: Pin<&mut Option<Instrumented<S::Future>>>) {
        let reconnect = self.session.take_reconnect();
        let offline = self.session.is_offline();
        let was_offline = std::mem::replace(&mut self.offline, offline);
        match (&self.step, was_offline, offline) {
            (Step::Dialling, false, true) => {
                call.set(None);
                let cause = Failure::new(FailureKind::Local, "the dial was cancelled to go offline, on request");
                self.back_off(Duration::ZERO, &cause);
            }
            (_, false, true) => {
                self.booking = None;
                self.session.offline();
            }
            (Step::BackingOff { cause, .. }, true, false) => {
                let cause = cause.clone();
                self.back_off(Duration::ZERO, &cause);
            }
            (Step::BackingOff { wanted, cause, .. }, false, false) if reconnect => {
                let now = Instant::now();
                if self.outage.earliest().unwrap_or(now).max(now) < *wanted {
                    let cause = cause.clone();
                    self.back_off(Duration::ZERO, &cause);
                }
            }
            _ => {}
        }
    }
}
