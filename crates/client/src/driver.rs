use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    num::NonZeroU64,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tower_ws_core::{
    Alarm, Connection, Down, DropReason, EndCause, Event, Failure, FailureKind, Lane, OutageCause, Outgoing, Phase,
    Replay, Suspicion, Ticket,
    drive::{Drive, Put, Rounds},
    jsonrpc::{Call, Codec, Decoded, Kind, Malformed, RpcError, parse_batch, parse_error, scan, shape, write_answer},
};

use crate::{
    doubt::Doubt,
    error::CallError,
    mailbox::{Incoming, Mailbox},
    outbox::{Body, Bound, Control, Entry},
    peer::{Notification, ServerRequest},
    request::Request,
    shared::{Shared, Stage},
    table::Answer,
};

/// Drives a connection: writes what is ready, reads always, looks at the clock in between. Nothing
/// moves unless it is polled.
///
/// It resolves when the session has ended. Dropping it aborts the connection and settles every
/// call.
#[pin_project(PinnedDrop)]
#[must_use = "nothing moves unless the driver is polled: spawn it"]
pub struct Driver<C, K> {
    #[pin]
    connection: C,
    codec: K,
    shared: Arc<Shared>,
    mailbox: Mailbox,
    /// Taken from the outbox, not yet with the connection.
    batch: VecDeque<Entry>,
    /// Handed to the connection and not flushed. It survives a flush that has to wait.
    dirty: bool,
    /// Control messages handed over since the last flush.
    control_given: usize,
    epoch: u64,
    /// Why the last connection went down.
    cause: Option<Failure>,
    end_cause: EndCause,
    /// There is no connection, and a layer below tries to have one.
    down: bool,
    closing: bool,
    /// Why this side ends the session, if nobody asked it to.
    own_cause: Option<Failure>,
    /// How many messages of the peer's made no sense.
    malformed_messages: u64,
    /// What came of the last event took the last room in the inbox.
    inbox_filled: bool,
    rounds: Rounds,
    alarm: Alarm,
    /// The clock, as last looked at: answers came in after that.
    looked: Instant,
}

/// How many entries are taken from the outbox at once.
const BATCH: usize = 64;

impl<C, K> Driver<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    pub(crate) fn new(connection: C, codec: K, shared: Arc<Shared>, mailbox: Mailbox) -> Self {
        Self {
            connection,
            codec,
            shared,
            mailbox,
            batch: VecDeque::new(),
            dirty: false,
            control_given: 0,
            epoch: 0,
            cause: None,
            end_cause: EndCause::new(),
            down: false,
            closing: false,
            own_cause: None,
            malformed_messages: 0,
            inbox_filled: false,
            rounds: Rounds::new(),
            alarm: Alarm::default(),
            looked: Instant::now(),
        }
    }

    /// Deals with one event.
    pub(crate) fn accept(mut self: Pin<&mut Self>, event: Event<C::Message>) {
        match event {
            Event::Message(message) => match self.codec.decode(message) {
                Decoded::Json(text) => self.read(text),
                Decoded::Refused(why) => self.ignored(&why, b""),
                _ => {}
            },
            Event::Up(up) => {
                let this = self.as_mut().project();
                if let Err(wrong) = up.check_order() {
                    tracing::error!(%wrong, "the session cannot work");
                    this.own_cause.get_or_insert(wrong.into());
                    *this.closing = true;
                }
                *this.epoch = up.epoch;
                *this.down = false;
                *this.cause = None;
                {
                    let mut shared = this.shared.lock();
                    shared.doubt = Doubt::new(up.extensions.get::<Suspicion>().cloned(), Instant::now());
                    shared.outage_cause = up.extensions.get::<OutageCause>().cloned().unwrap_or_default();
                }
                *this.end_cause = up.extensions.get::<EndCause>().cloned().unwrap_or_default();
                self.push_inbound(Incoming::Up(up));
            }
            Event::Down(mut down) => {
                let this = self.as_mut().project();
                if let (Some(cause), false) = (&this.own_cause, down.will_retry) {
                    down.cause = cause.clone();
                }
                *this.dirty = false;
                *this.control_given = 0;
                *this.cause = Some(down.cause.clone());
                *this.down = down.will_retry;
                // Of the last connection's calls the end takes care.
                if down.will_retry {
                    this.shared.settle_where(|ticket| {
                        let lost = matches!(ticket.phase(), Phase::Sent(epoch) if epoch <= down.epoch);
                        lost.then(|| CallError::Interrupted(Some(down.cause.clone())))
                    });
                }
                let answers = this.shared.lock().outbox.lost(this.batch);
                for _ in 0..answers {
                    let (request, reason) = (None, DropReason::Disconnected);
                    self.as_mut().push_inbound(Incoming::Undelivered { request, reason });
                }
                self.push_inbound(Incoming::Down(down));
            }
            Event::Dropped(outgoing, reason) => self.dropped(outgoing, reason),
            // With JSON-RPC the answer is the acknowledgement; a bare one says nothing new.
            _ => {}
        }
    }

    /// A message, or several in one.
    fn read(mut self: Pin<&mut Self>, text: Bytes) {
        match scan(&text) {
            Ok(Kind::Batch) => match parse_batch(&text) {
                Ok(messages) => {
                    for message in messages {
                        let message = text.slice_ref(message.get().as_bytes());
                        let kind = scan(&message);
                        self.as_mut().read_one(message, kind);
                    }
                }
                Err(error) => self.ignored(&error, &text),
            },
            kind => self.read_one(text, kind),
        }
    }

    fn read_one(self: Pin<&mut Self>, text: Bytes, kind: Result<Kind, Malformed>) {
        match kind {
            Ok(Kind::Result(id)) => self.answered(id, Answer::Result(text)),
            Ok(Kind::Error(id)) => self.answered(id, Answer::Error(text)),
            Ok(Kind::Broken(id)) => self.answered(id, Answer::Broken(text)),
            Ok(Kind::Call) => self.called(text),
            Ok(Kind::Batch) => self.ignored(&Malformed::Nested, &text),
            Ok(Kind::Stray) => match parse_error(&text) {
                Ok(error) => self.complained(error),
                Err(_) => self.ignored(&"an answer to no request of ours", &text),
            },
            Err(error) => self.ignored(&error, &text),
        }
    }

    /// The peer reports an error, and names no call of ours.
    fn complained(mut self: Pin<&mut Self>, error: RpcError) {
        let so_far = self.as_mut().project().malformed_messages;
        *so_far += 1;
        if so_far.is_power_of_two() {
            tracing::warn!(%error, so_far, "the peer reports an error that belongs to no call");
        }
        self.push_inbound(Incoming::Error(error));
    }

    fn answered(&self, id: u64, answer: Answer) {
        if !self.shared.answered(id, answer, self.looked) {
            tracing::debug!(id, "an answer to what was not asked, or not any more, was ignored");
        }
    }

    /// The peer asks or tells something.
    fn called(self: Pin<&mut Self>, text: Bytes) {
        let call = match Call::parse(&text) {
            Ok(call) => call,
            Err(error) => return self.ignored(&error, &text),
        };
        let said = Notification::new(text.clone(), &call);
        match call.id {
            None => self.push_inbound(Incoming::Notification(said)),
            Some(id) if call.method == "ping" && self.shared.config.answer_pings => {
                let mut answer = BytesMut::new();
                write_answer(&mut answer, id, Ok("{}"));
                let (epoch, text) = (self.epoch, answer.freeze());
                let is_kept = self.shared.lock().outbox.push_control(Bound { epoch, text });
                if !is_kept {
                    self.shared.refused();
                }
            }
            Some(id) => {
                let shared = Arc::downgrade(&self.shared);
                let request = ServerRequest::new(said, id, self.epoch, shared);
                self.push_inbound(Incoming::Request(request));
            }
        }
    }

    /// A message that makes no sense. The 1st, 2nd, 4th, 8th … is logged: a peer cannot fill the
    /// log with them.
    fn ignored(self: Pin<&mut Self>, why: &dyn fmt::Display, text: &[u8]) {
        let this = self.project();
        *this.malformed_messages += 1;
        if this.malformed_messages.is_power_of_two() {
            let (what, so_far) = (shape(text), *this.malformed_messages);
            tracing::warn!(%why, what, so_far, "a message of the peer's was ignored");
        }
    }

    fn push_inbound(mut self: Pin<&mut Self>, item: Incoming) {
        match self.mailbox.put(item) {
            Put::Kept { last } => *self.project().inbox_filled = last,
            Put::Unread(Incoming::Request(request)) => {
                request.turn_away(&RpcError::new(
                    RpcError::METHOD_NOT_FOUND,
                    "nobody answers requests here",
                ));
            }
            Put::Evicted(items) => {
                *self.as_mut().project().inbox_filled = true;
                let busy = RpcError::new(RpcError::BUSY, "too many requests at once");
                for item in items {
                    if let Incoming::Request(request) = item {
                        request.turn_away(&busy);
                    }
                }
            }
            Put::Unread(_) => {}
            // It ends already.
            Put::Overrun if self.closing => {}
            Put::Overrun => {
                let this = self.project();
                let text = "the application did not read what came in fast enough, and asked to end then";
                tracing::error!("{text}");
                this.own_cause
                    .get_or_insert_with(|| Failure::new(FailureKind::Policy, text));
                *this.closing = true;
            }
        }
    }

    /// A layer below gave up on a message.
    fn dropped(self: Pin<&mut Self>, outgoing: Outgoing<C::Message>, reason: DropReason) {
        if outgoing.lane == Lane::Control {
            // It was worth sending then or not at all.
            return tracing::debug!(%reason, "a control message was dropped");
        }
        let ticket = outgoing.ticket.as_ref();
        let seen = ticket.is_some_and(Ticket::may_have_been_seen);
        let given_up = ticket.is_some_and(Ticket::is_cancelled);
        let ends = self.closing || reason == DropReason::Closed;
        // Those of a session that ends are settled by its end, which knows why.
        if let Some(ticket) = ticket.filter(|_| !ends) {
            let error = match (seen, &reason) {
                (true, DropReason::Interrupted(Some(cause))) => CallError::Interrupted(Some(cause.clone())),
                (true, _) => CallError::Interrupted(self.cause.clone()),
                (false, reason) => CallError::NotSent(reason.clone()),
            };
            self.shared.settle(ticket.tag(), Err(error));
        }
        let (waited_for, replay) = (ticket.is_some(), outgoing.replay);
        // What a store keeps, it sends in the next session: nobody else should.
        let kept = outgoing.record.is_some();
        let request = match self.codec.decode(outgoing.message) {
            Decoded::Json(text) => Request::from_text(&text, replay),
            _ => None,
        };
        if ends && !seen {
            self.shared.lock().keep_leftover(request.filter(|_| !given_up && !kept));
        } else if !waited_for {
            self.push_inbound(Incoming::Undelivered { request, reason });
        }
    }

    /// Control first, then in order. True if there are control messages for which there is no room
    /// before a flush.
    fn feed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        loop {
            let this = self.as_mut().project();
            let mut state = this.shared.lock();
            let room = *this.control_given..Lane::CONTROL_ROOM;
            let control: Vec<_> = room.map_while(|_| state.outbox.pop_control()).collect();
            state.outbox.take(this.batch, BATCH);
            let more = state.outbox.has_control();
            // The closure that writes a cancellation is the application's.
            drop(state);
            *this.control_given += control.len();
            for control in control {
                self.as_mut().send_control(control);
            }
            if self.batch.is_empty() {
                return more;
            }
            while let Some(entry) = self.as_mut().project().batch.pop_front() {
                if !matches!(self.as_mut().project().connection.poll_ready(cx), Poll::Ready(Ok(()))) {
                    self.as_mut().project().batch.push_front(entry);
                    return more;
                }
                self.as_mut().send_entry(entry);
            }
        }
    }

    fn send_control(self: Pin<&mut Self>, control: Control) {
        let body = match control {
            Control::Answer(answer) => Body::Answer(answer),
            Control::Cancellation(id) => match &self.shared.config.cancel {
                Some(cancel) => {
                    let notice = cancel.notice(id);
                    Body::Call(self.shared.lock().outbox.write(None, &notice))
                }
                None => return,
            },
        };
        self.send(body, Lane::Control, None, None);
    }

    fn send_entry(self: Pin<&mut Self>, entry: Entry) {
        if !entry.ticket.as_ref().is_some_and(Ticket::is_cancelled) {
            self.send(entry.body, Lane::Normal, entry.ticket, entry.deadline);
        }
    }

    fn send(mut self: Pin<&mut Self>, body: Body, lane: Lane, ticket: Option<Ticket>, deadline: Option<Instant>) {
        let this = self.as_mut().project();
        let (text, replay, epoch) = match body {
            Body::Answer(answer) if *this.down || answer.epoch != *this.epoch => {
                if lane == Lane::Normal {
                    let (request, reason) = (None, DropReason::Disconnected);
                    self.push_inbound(Incoming::Undelivered { request, reason });
                }
                return;
            }
            Body::Answer(answer) => (answer.text, Replay::Unsafe, Some(answer.epoch)),
            Body::Call(call) => (call.text, call.replay, None),
        };
        let message = match this.codec.encode(text) {
            Ok(message) => message,
            Err(malformed) => {
                if let Some(ticket) = ticket {
                    this.shared.settle(ticket.tag(), Err(malformed.into()));
                }
                return;
            }
        };
        let mut outgoing = Outgoing::new(message).replay(replay);
        outgoing.lane = lane;
        outgoing.deadline = deadline;
        outgoing.ticket = ticket;
        outgoing.epoch = epoch.and_then(NonZeroU64::new);
        // It fails only once the connection has ended; then its end is about to be read, and
        // settles everything.
        if this.connection.start_send(outgoing).is_ok() {
            *this.dirty = true;
        }
    }

    /// Settles the calls and tells of the notifications whose time is up.
    fn expire(mut self: Pin<&mut Self>, now: Instant) {
        let this = self.as_mut().project();
        for request in this.shared.expire(now, this.batch) {
            let (request, reason) = (Some(request), DropReason::Expired);
            self.as_mut().push_inbound(Incoming::Undelivered { request, reason });
        }
    }
}

impl<C, K> Drive for Driver<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    /// Settles calls whose time is up, and ends a session that has drained.
    fn poll_clock(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let mut state = this.shared.lock();
        state.look_for_doubt();
        let next = [state.table.earliest(), state.outbox.earliest()];
        let mut next = next.into_iter().flatten().min();
        if let (Stage::Draining(until), false) = (&state.stage, *this.closing) {
            let idle = state.is_idle() && this.batch.is_empty() && !*this.dirty;
            if idle || until.is_some_and(|until| until <= Instant::now()) {
                *this.closing = true;
                return Poll::Ready(());
            }
            next = [next, *until].into_iter().flatten().min();
        }
        drop(state);
        let Some(next) = next else {
            return Poll::Pending;
        };
        let now = Instant::now();
        *this.looked = now;
        ready!(this.alarm.poll(next, now, cx));
        self.expire(now);
        Poll::Ready(())
    }

    fn write(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if self.closing {
            // Its outcome is read from the stream.
            let _ = self.project().connection.poll_close(cx);
            return;
        }
        // The first event is `Up`, and it may say that this session cannot work.
        if self.epoch == 0 {
            return;
        }
        loop {
            let more = self.as_mut().feed(cx);
            let this = self.as_mut().project();
            if !*this.dirty || this.connection.poll_flush(cx).is_pending() {
                return;
            }
            *this.dirty = false;
            *this.control_given = 0;
            if !more {
                return;
            }
        }
    }

    fn poll_event(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        if !self.closing {
            ready!(self.mailbox.poll_room(cx));
        }
        *self.as_mut().project().inbox_filled = false;
        Poll::Ready(match ready!(self.as_mut().project().connection.poll_next(cx)) {
            Some(event) => {
                self.as_mut().accept(event);
                Some(self.inbox_filled)
            }
            None => None,
        })
    }

    fn is_full(&self) -> bool {
        !self.closing && self.mailbox.is_full()
    }

    fn end(mut self: Pin<&mut Self>) {
        let known = self.own_cause.as_ref().or(self.end_cause.get());
        let cause = match known {
            // Closed between two connections: why the last one went down is another story.
            None if self.closing && self.down => Some(Failure::closed_locally()),
            known => known.or(self.cause.as_ref()).cloned(),
        };
        // The application was told that there might be another connection.
        if let (true, Some(cause)) = (self.down, &cause) {
            let mut down = Down::new(cause.clone());
            down.epoch = self.epoch;
            self.as_mut().push_inbound(Incoming::Down(down));
        }
        let this = self.project();
        this.shared.end(cause, this.batch.drain(..));
        this.mailbox.end();
    }
}

impl<C, K> Future for Driver<C, K>
where
    C: Connection,
    K: Codec<C::Message>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before anything is looked at: what another thread adds meanwhile wakes this task again.
        self.shared.lock().park_driver(cx);
        let mut rounds = std::mem::take(self.as_mut().project().rounds);
        let moved = rounds.poll(self.as_mut(), cx);
        *self.project().rounds = rounds;
        moved
    }
}

#[pinned_drop]
impl<C, K> PinnedDrop for Driver<C, K> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        // After the session's end this says nothing new.
        let cause = Failure::new(FailureKind::Local, "the driver of the session was dropped");
        this.shared.end(Some(cause), this.batch.drain(..));
        this.mailbox.end();
    }
}

impl<C, K> fmt::Debug for Driver<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("epoch", &self.epoch)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}
