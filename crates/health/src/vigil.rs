use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{Alarm, Clock, ConnectionId, DropReason, Failure, FailureKind, Progress, Suspicion, Ticket};

use crate::{
    error::ProbeError,
    hub::ConnectionStats,
    layer::Settings,
    probes::{Answer, Probes},
    pulse::{Act, Pulse},
};

/// The watch over one connection that is up: the [`Pulse`] with its evidence and its timer, and the
/// probes.
pub(crate) struct Vigil {
    connection: ConnectionId,
    pulse: Pulse,
    probes: Probes,
    clock: Arc<dyn Clock>,
    /// How long the peer may take to answer; and how long one may that answers probes.
    timeout: Duration,
    known_timeout: Duration,
    /// Perhaps the peer knows no probes; or it was dead whenever it was asked. Asked now, it tells.
    unknown: bool,
    progress: Option<Progress>,
    /// Bytes and dry reads, as last seen.
    read: u64,
    written: u64,
    dry: u64,
    /// A probe that had not left this process at the last look.
    waiting: Option<u64>,
    /// An event came in since the last look.
    heard: bool,
    /// The time is up and its timer has fired: what is read from here on is evidence.
    judging: bool,
    /// The probe that [`Handle::probe_now`](crate::Handle::probe_now) waits for.
    on_demand: Option<u64>,
    alarm: Alarm,
    suspicion: Suspicion,
    /// The probe that a peer under suspicion has to answer.
    examination: Option<Examination>,
}

/// The peer talks, but answers no calls: now it has to answer a probe.
#[derive(Clone, Copy, Debug)]
struct Examination {
    nonce: u64,
    /// It has left this process.
    left: bool,
    /// The peer's time runs from here.
    since: Instant,
    /// A late look has been forgiven.
    forgiven: bool,
    /// No call has been answered since.
    unanswered_since: Instant,
}

/// What the connection is to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Send the question with this nonce.
    Send(u64, Ticket),
    /// Read once more: only now does silence count.
    ReadAgain,
    /// The peer is dead or deaf; for how long it has been.
    Leave(Failure, Duration),
}

impl Vigil {
    pub(crate) fn new(
        settings: &Settings,
        connection: ConnectionId,
        progress: Option<Progress>,
        suspicion: Suspicion,
        session: &ConnectionStats,
    ) -> Self {
        let never_answered = session.never_answered();
        let timeout = settings.timeout_after(never_answered);
        let mut rng = settings.rng();
        let nonces = rng.fork();
        Self {
            connection,
            pulse: Pulse::new(settings.rhythm(timeout, rng), Instant::now(), settings.clock.now()),
            probes: Probes::new(timeout, nonces),
            clock: settings.clock.clone(),
            timeout,
            known_timeout: settings.timeout,
            unknown: never_answered > 0,
            read: progress.as_ref().map_or(0, Progress::read),
            written: progress.as_ref().map_or(0, Progress::written),
            dry: 0,
            waiting: None,
            progress,
            heard: false,
            judging: false,
            on_demand: None,
            alarm: Alarm::default(),
            suspicion,
            examination: None,
        }
    }

    /// The connection below is about to be read.
    pub(crate) fn before_read(&mut self) {
        self.dry = self.dry_reads();
    }

    /// Something came in.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// True while a message may be the answer to a probe.
    pub(crate) fn awaits(&self) -> bool {
        !self.probes.is_empty()
    }

    /// Takes an answer. False if it answers no probe of ours.
    pub(crate) fn answered(&mut self, nonce: u64, session: &ConnectionStats) -> bool {
        let Some(answer) = self.probes.answered(nonce, Instant::now()) else {
            return false;
        };
        if let Answer::InTime(rtt) = answer {
            session.answered(rtt);
            self.timeout = self.known_timeout;
            self.pulse.allow(self.timeout);
            self.probes.allow(self.timeout);
            self.resolve(nonce, Ok(rtt), session);
        }
        true
    }

    /// Takes a probe that a layer below gave up. False if it is none of ours.
    pub(crate) fn dropped(&mut self, ticket: &Ticket, reason: &DropReason, session: &ConnectionStats) -> bool {
        let Some(newly_lost) = self.probes.dropped(ticket) else {
            return false;
        };
        // The time to answer runs on: a socket that takes no ping is no sign of life.
        tracing::debug!(connection = %self.connection, %reason, "the probe was dropped");
        session.lost(newly_lost.into());
        self.resolve(ticket.tag(), Err(ProbeError::Dropped(reason.clone())), session);
        true
    }

    /// Looks at the clock. Only after a read that found nothing.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, session: &ConnectionStats) -> Poll<Task> {
        // Before the look, so that a wish that comes in meanwhile is seen or wakes.
        session.park(cx);
        loop {
            let now = Instant::now();
            self.look(now, session);
            if std::mem::take(&mut self.unknown) {
                // The time until it counts as dead does not run from here: it was not silent yet.
                let (nonce, ticket) = self.question(now, session);
                return Poll::Ready(Task::Send(nonce, ticket));
            }
            if session.take_asked() && self.on_demand.is_none() {
                self.pulse.asked_out_of_turn(now);
                self.on_demand = self
                    .probes
                    .unsent()
                    .filter(|&nonce| self.probes.deadline(nonce).is_some());
                if self.on_demand.is_none() {
                    let (nonce, ticket) = self.question(now, session);
                    self.on_demand = Some(nonce);
                    return Poll::Ready(Task::Send(nonce, ticket));
                }
            }
            if let Some(task) = self.examine(now, cx, session) {
                return Poll::Ready(task);
            }
            let examined = self.examination.map(|examination| examination.since + self.timeout);
            let act = match examined.filter(|&deadline| deadline <= now) {
                Some(deadline) => Act::Judge(deadline),
                None => self.pulse.act(now),
            };
            let until = match act {
                // The last one still waits for the socket: one more would tell no more.
                Act::Probe if self.probes.unsent().is_some() => continue,
                Act::Probe => {
                    let (nonce, ticket) = self.question(now, session);
                    return Poll::Ready(Task::Send(nonce, ticket));
                }
                Act::Judge(deadline) => {
                    // The runtime learns what the network brought before it fires timers. So nobody
                    // is judged by a read that came before the timer.
                    ready!(self.alarm.poll_fired(deadline, cx));
                    if !std::mem::replace(&mut self.judging, true) {
                        return Poll::Ready(Task::ReadAgain);
                    }
                    if !self.was_dry() {
                        // Nobody looked into the socket. Whoever keeps it shut wakes us.
                        return Poll::Pending;
                    }
                    return Poll::Ready(match self.examination {
                        Some(examination) if Some(deadline) == examined => self.deaf(now, examination),
                        _ => self.dead(now, session),
                    });
                }
                Act::Wait(until) => until,
            };
            self.judging = false;
            let on_demand = self.on_demand.and_then(|nonce| self.probes.deadline(nonce));
            let next = [on_demand, examined].into_iter().flatten().fold(until, Instant::min);
            ready!(self.alarm.poll(next, now, cx));
        }
    }

    fn look(&mut self, now: Instant, session: &ConnectionStats) {
        let read = self.progress.as_ref().map_or(0, Progress::read);
        let heard = std::mem::take(&mut self.heard) | (read != self.read);
        self.read = read;
        self.pulse.look(now, self.clock.now(), heard);
        self.put_off(now);
        session.lost(self.probes.expire(now));
        if let Some(nonce) = self.on_demand
            && self.probes.deadline(nonce).is_none()
        {
            self.resolve(nonce, Err(ProbeError::Unanswered(self.timeout)), session);
        }
    }

    /// The peer's time runs from when the probe has left this process. Until then what stands before
    /// it has to move; if nothing does, the time runs on.
    fn put_off(&mut self, now: Instant) {
        let written = self.progress.as_ref().map_or(0, Progress::written);
        let moved = std::mem::replace(&mut self.written, written) != written;
        let waited = std::mem::replace(&mut self.waiting, self.probes.unsent());
        if waited.is_some_and(|nonce| moved || self.probes.has_left(nonce)) {
            self.pulse.put_off(now);
        }
        if let Some(examination) = self.examination.as_mut().filter(|examination| !examination.left) {
            examination.left = self.probes.has_left(examination.nonce);
            if moved || examination.left {
                examination.since = now;
            }
        }
    }

    /// Sees to it that a peer under suspicion has a probe of its own to answer.
    fn examine(&mut self, now: Instant, cx: &Context<'_>, session: &ConnectionStats) -> Option<Task> {
        let Some(unanswered_since) = self.suspicion.look(cx) else {
            self.examination = None;
            return None;
        };
        match &mut self.examination {
            None => {
                let (nonce, ticket) = self.question(now, session);
                self.examination = Some(Examination {
                    nonce,
                    left: false,
                    since: now,
                    forgiven: false,
                    unanswered_since,
                });
                return Some(Task::Send(nonce, ticket));
            }
            // Answered; or dropped or forgotten on this side, which says nothing.
            Some(examination) if !self.probes.knows(examination.nonce) => {
                self.examination = None;
                self.suspicion.withdraw();
            }
            // This process stood still.
            Some(examination)
                if now > examination.since + self.timeout + self.pulse.stall() && !examination.forgiven =>
            {
                examination.forgiven = true;
                examination.since = now;
            }
            Some(_) => {}
        }
        None
    }

    fn question(&mut self, now: Instant, session: &ConnectionStats) -> (u64, Ticket) {
        let (nonce, ticket, evicted) = self.probes.begin(now);
        self.waiting = Some(nonce);
        let (silent, _) = self.pulse.silence(now);
        tracing::debug!(connection = %self.connection, nonce, silent_ms = silent.as_millis() as u64, "probing");
        session.sent();
        session.lost(evicted.into());
        (nonce, ticket)
    }

    /// The peer talks, and answers nothing.
    fn deaf(&self, now: Instant, examination: Examination) -> Task {
        let unanswered = now.saturating_duration_since(examination.unanswered_since);
        let asked = now.saturating_duration_since(examination.since);
        let text = format!(
            "the peer talks and is deaf: it has answered no call for {unanswered:.1?}, and then no probe for {asked:.1?}; \
             the connection was dropped without a closing handshake"
        );
        tracing::warn!(
            connection = %self.connection,
            unanswered_ms = unanswered.as_millis() as u64,
            asked_ms = asked.as_millis() as u64,
            "the peer is deaf; dropping the connection"
        );
        Task::Leave(Failure::new(FailureKind::Timeout, text), unanswered)
    }

    /// Nothing comes in any more.
    fn dead(&self, now: Instant, session: &ConnectionStats) -> Task {
        let (silent, asked) = self.pulse.silence(now);
        let never_answered = session.left();
        let hint = match never_answered {
            true => "; it has never answered a probe, and has more time to on the next connection",
            false => "",
        };
        let text = format!(
            "nothing came in for {silent:.1?}, though it had {asked:.1?} to answer a probe: the peer or the way to it is dead; \
             the connection was dropped without a closing handshake{hint}"
        );
        tracing::warn!(
            connection = %self.connection,
            silent_ms = silent.as_millis() as u64,
            asked_ms = asked.as_millis() as u64,
            never_answered,
            "the peer is dead; dropping the connection"
        );
        Task::Leave(Failure::new(FailureKind::Timeout, text), silent)
    }

    fn resolve(&mut self, nonce: u64, outcome: Result<Duration, ProbeError>, session: &ConnectionStats) {
        if self.on_demand == Some(nonce) {
            self.on_demand = None;
            session.resolve(&outcome);
        }
    }

    fn dry_reads(&self) -> u64 {
        self.progress.as_ref().map_or(0, Progress::dry_reads)
    }

    /// The last read of the connection below looked into the socket, as far as can be told.
    fn was_dry(&self) -> bool {
        self.progress.is_none() || self.dry_reads() != self.dry
    }
}
