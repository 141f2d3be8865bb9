use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use crate::{progress::Progress, time::Alarm};

/// How long a connection waits for its peer. A socket alone waits for ever in each of these places.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Deadlines {
    /// How long the system may take not a single byte while something is to be written. Default 20
    /// s. `None`: for ever.
    ///
    /// Progress is counted in bytes if the transport gives a [`Progress`]: then a slow link is
    /// never cut. Otherwise each write must be done within this time.
    pub write: Option<Duration>,
    /// How long a closing handshake may take. Default 5 s: long enough for a round trip around the
    /// world, short enough for a person who waits for a program to end.
    ///
    /// Once the peer has said goodbye, no more than [`LINGER`](Self::LINGER) of it is left.
    pub close: Duration,
    /// How long nothing at all may come in. Default `None`: a quiet link is not a dead one. Set it
    /// only where the peer is known to speak (or ping) more often; a health layer, which asks
    /// before it judges, is the better tool.
    pub idle: Option<Duration>,
}

impl Deadlines {
    /// The default of [`write`](Self::write).
    pub const WRITE: Duration = Duration::from_secs(20);
    /// The default of [`close`](Self::close).
    pub const CLOSE: Duration = Duration::from_secs(5);
    /// How long a peer that has said goodbye may take to end the connection: 1 s. Politeness lets the server end it first
    /// ([RFC 6455, section 7.1.1](https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1)); nothing more is to come, and a
    /// session above waits to redial.
    pub const LINGER: Duration = Duration::from_secs(1);

    /// Sets [`write`](Self::write).
    #[must_use]
    pub fn write(mut self, write: Option<Duration>) -> Self {
        self.write = write;
        self
    }

    /// Sets [`close`](Self::close).
    #[must_use]
    pub fn close(mut self, close: Duration) -> Self {
        self.close = close;
        self
    }

    /// Sets [`idle`](Self::idle).
    #[must_use]
    pub fn idle(mut self, idle: Option<Duration>) -> Self {
        self.idle = idle;
        self
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            write: Some(Self::WRITE),
            close: Self::CLOSE,
            idle: None,
        }
    }
}

/// The running deadlines of one connection: at most one timer, none while nothing is awaited.
#[derive(Debug)]
pub(crate) struct Timers {
    deadlines: Deadlines,
    progress: Option<Progress>,
    alarm: Alarm,
    write: Option<(Instant, u64)>,
    close: Option<Instant>,
    idle: Option<(Instant, u64)>,
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Missed {
    Write(Duration),
    Close,
    Idle(Duration),
}

impl Timers {
    pub(crate) fn new(deadlines: Deadlines, progress: Option<Progress>) -> Self {
        Self {
            deadlines,
            progress,
            alarm: Alarm::default(),
            write: None,
            close: None,
            idle: None,
        }
    }

    /// Something waits to be written.
    pub(crate) fn write_blocked(&mut self) {
        if let (None, Some(limit)) = (self.write, self.deadlines.write) {
            self.write = after(limit).map(|at| (at, self.written()));
        }
    }

    /// What waited has been written.
    pub(crate) fn write_done(&mut self) {
        self.write = None;
    }

    /// A closing handshake has begun. Only the first call counts.
    pub(crate) fn closing(&mut self) {
        if self.close.is_none() {
            self.close = after(self.deadlines.close);
        }
    }

    /// The peer has said goodbye.
    pub(crate) fn peer_closed(&mut self) {
        let linger = after(self.deadlines.close.min(Deadlines::LINGER));
        self.close = match (self.close, linger) {
            (Some(close), Some(linger)) => Some(close.min(linger)),
            (close, linger) => close.or(linger),
        };
    }

    /// To be called when a read is pending. Starts the idle limit afresh if anything was received
    /// since the last call.
    pub(crate) fn on_read_pending(&mut self, received: bool) {
        if let Some(limit) = self.deadlines.idle
            && (received || self.idle.is_none())
        {
            self.idle = after(limit).map(|at| (at, self.read()));
        }
    }

    /// Resolves when a deadline has passed. Call it only after a read that found nothing.
    pub(crate) fn poll_missed(&mut self, cx: &mut Context<'_>) -> Poll<Missed> {
        loop {
            let now = Instant::now();
            ready!(self.poll_alarm(now, cx));
            if let Some(missed) = self.missed(now) {
                return Poll::Ready(missed);
            }
        }
    }

    /// Ready once the nearest deadline has come. It may have been put off since it was set.
    pub(crate) fn poll_alarm(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let deadlines = [self.write.map(|w| w.0), self.close, self.idle.map(|i| i.0)];
        match deadlines.into_iter().flatten().min() {
            Some(nearest) => self.alarm.poll(nearest, now, cx),
            None => Poll::Pending,
        }
    }

    fn missed(&mut self, now: Instant) -> Option<Missed> {
        if self.close.is_some_and(|close| close <= now) {
            return Some(Missed::Close);
        }
        if let (Some((at, before)), Some(limit)) = (self.write, self.deadlines.write)
            && at <= now
        {
            let written = self.written();
            if written == before {
                return Some(Missed::Write(limit));
            }
            self.write = after(limit).map(|at| (at, written));
        }
        if let (Some((at, before)), Some(limit)) = (self.idle, self.deadlines.idle)
            && at <= now
        {
            let read = self.read();
            if read == before {
                return Some(Missed::Idle(limit));
            }
            self.idle = after(limit).map(|at| (at, read));
        }
        None
    }

    fn written(&self) -> u64 {
        self.progress.as_ref().map_or(0, Progress::written)
    }

    fn read(&self) -> u64 {
        self.progress.as_ref().map_or(0, Progress::read)
    }
}

/// A limit too long for the clock is no limit.
fn after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_taken_by_the_system_put_off_the_write_deadline() {
        let progress = Progress::new();
        let mut timers = Timers::new(Deadlines::default(), Some(progress.clone()));
        let start = Instant::now();
        timers.write_blocked();
        tokio::spawn(async move {
            tokio::time::sleep(Deadlines::WRITE / 2).await;
            progress.add_written(1);
        });
        let missed = poll_fn(|cx| timers.poll_missed(cx)).await;
        assert_eq!(missed, Missed::Write(Deadlines::WRITE));
        assert_eq!(start.elapsed(), Deadlines::WRITE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_limit_is_no_limit() {
        let mut timers = Timers::new(Deadlines::default().close(Duration::MAX), None);
        timers.closing();
        assert!(poll_fn(|cx| Poll::Ready(timers.poll_missed(cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_ends_takes_its_deadline_along() {
        let mut timers = Timers::new(Deadlines::default(), None);
        timers.write_blocked();
        timers.write_done();
        assert!(poll_fn(|cx| Poll::Ready(timers.poll_missed(cx))).await.is_pending());
    }
}
