use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    num::NonZeroU64,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;
use tower_ws_ack::{Keys, Strategy};
use tower_ws_core::{
    Clock, Down, DropReason, Failure, Outgoing, Pack, Phase, Replay, TicketSteps, Up, Verbatim, jsonrpc::Ids,
};
use tower_ws_queue::{Held, Store};

use crate::{
    change::Row,
    ledger::{Ledger, Returned},
    record::{Terms, millis, wall_of},
    spool::Core,
    writer::Shared,
};

/// The store of one session. [`Spool`](crate::Spool) makes it; see the [crate docs](crate).
pub struct SpoolStore<M, S, P = Verbatim>
where
    S: Strategy<M>,
{
    /// Where each message is.
    shared: Arc<Shared>,
    /// `None`: another session has the spool.
    core: Option<Arc<Core>>,
    clock: Arc<dyn Clock>,
    pack: P,
    strategy: S,
    /// By the order of acceptance.
    held: VecDeque<(u64, Held<M>)>,
    /// What is out and awaits an acknowledgement.
    keys: BTreeMap<S::Key, u64>,
    ids: Option<Ids>,
    is_up: bool,
}

/// How many messages are marked as leaving at a time. More cost fewer commits; fewer are taken for
/// sent, though they were not, if the process is killed in between.
const AHEAD: usize = 64;

const IN_USE: &str = "another session uses the spool";

impl<M, S, P> SpoolStore<M, S, P>
where
    P: Pack<M>,
    S: Strategy<M>,
{
    pub(crate) fn new(core: Arc<Core>, pack: P, strategy: S) -> Self {
        let (now, wall) = (Instant::now(), core.clock.now());
        let begun = core.shared.with(|ledger| ledger.begin(now, wall));
        let mut store = Self {
            clock: core.clock.clone(),
            shared: match begun {
                Some(_) => core.shared.clone(),
                None => Shared::new(Ledger::shut(IN_USE)),
            },
            core: begun.is_some().then_some(core),
            pack,
            strategy,
            held: VecDeque::new(),
            keys: BTreeMap::new(),
            ids: None,
            is_up: false,
        };
        match begun {
            Some(returned) => store.hold(returned, None),
            None => tracing::error!("{IN_USE}; this one's messages come back as refused"),
        }
        store
    }

    /// May the peer see it twice?
    fn may_go_again(&self, item: &Outgoing<M>) -> bool {
        match item.replay {
            Replay::Safe => true,
            Replay::Unsafe => false,
            Replay::Unknown => self.strategy.is_safe(item),
        }
    }

    /// Takes a number for a message, and leaves it to the writer.
    fn record(&mut self, held: &Held<M>) -> Result<u64, DropReason> {
        let item = &held.item;
        let Some(payload) = self.pack.pack(&item.message) else {
            return Err(DropReason::Refused("the spool keeps no message of its kind"));
        };
        let (now, wall) = (Instant::now(), self.clock.now());
        let terms = Terms {
            since: held.since,
            deadline: item.deadline,
            ticket: item.ticket.clone(),
            bound: item.epoch.is_some(),
        };
        let row = Row {
            seq: 0,
            accepted: millis(wall),
            // Of what makes sense on this connection only, the next process has no use.
            deadline: match terms.bound {
                true => Some(millis(wall)),
                false => item.deadline.map(|at| wall_of(at, now, wall)),
            },
            replay: item.replay,
            leaving: false,
            size: held.bytes,
            payload,
        };
        let first_id = self.ids.as_ref().map_or(0, Ids::peek);
        let keys = &mut self.keys;
        self.shared.with(|ledger| {
            if ledger.must_sweep(row.payload.len()) {
                ledger.sweep();
                keys.retain(|_, seq| ledger.knows(*seq));
            }
            ledger.enter(row, terms, first_id)
        })
    }

    /// Holds what comes back, or gives it up: what the peer may have seen, and must not see twice.
    fn hold(&mut self, returned: Vec<Returned>, cause: Option<&Failure>) {
        for Returned { row, terms, seen } in returned {
            // Looked at when the file was opened, or packed by this process: it is a message.
            let Some(message) = self.pack.unpack(row.payload) else {
                continue;
            };
            let mut item = Outgoing::new(message).replay(row.replay);
            item.record = NonZeroU64::new(row.seq);
            item.deadline = terms.deadline;
            if let Some(ticket) = &terms.ticket {
                // Unless he has given up, which the queue sees.
                let _ = matches!(ticket.phase(), Phase::Sent(_)) && ticket.mark_held();
            }
            item.ticket = terms.ticket;
            let lost = match seen {
                true if terms.bound || !self.may_go_again(&item) => Some(DropReason::Interrupted(cause.cloned())),
                false if terms.bound => Some(DropReason::Disconnected),
                _ => None,
            };
            self.shared.with(|ledger| ledger.hold(row.seq, seen, lost));
            let at = self.held.partition_point(|(seq, _)| *seq < row.seq);
            self.held.insert(at, (row.seq, Held::new(item, row.size, terms.since)));
        }
    }

    /// The next of those in front that must be marked before they leave.
    fn unmarked(&self) -> Vec<u64> {
        let ahead = self.held.iter().take(AHEAD);
        let ahead = ahead.filter(|(_, held)| !self.may_go_again(&held.item));
        ahead.map(|(seq, _)| *seq).collect()
    }

    /// It awaits no acknowledgement any more.
    fn release(&mut self, seq: u64, item: &Outgoing<M>) {
        if let Some(key) = self.strategy.awaits(item)
            && self.keys.get(&key) == Some(&seq)
        {
            self.keys.remove(&key);
        }
    }

    fn acknowledged(&mut self, key: &S::Key) {
        if let Some(seq) = self.keys.remove(key) {
            self.shared.with(|ledger| ledger.forget(seq));
        }
    }
}

impl<M, S, P> Store<M> for SpoolStore<M, S, P>
where
    P: Pack<M>,
    S: Strategy<M>,
{
    fn push_back(&mut self, mut held: Held<M>) -> Result<(), (Held<M>, DropReason)> {
        match self.record(&held) {
            Ok(seq) => {
                held.item.record = NonZeroU64::new(seq);
                self.held.push_back((seq, held));
                Ok(())
            }
            Err(reason) => Err((held, reason)),
        }
    }

    fn front(&self) -> Option<&Held<M>> {
        self.held.front().map(|(_, held)| held)
    }

    fn pop_front(&mut self) -> Option<Held<M>> {
        self.held.pop_front().map(|(_, held)| held)
    }

    fn len(&self) -> usize {
        self.held.len()
    }

    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<M>) -> bool) -> Vec<Held<M>> {
        let mut taken = Vec::new();
        for _ in 0..self.held.len() {
            let Some((seq, held)) = self.held.pop_front() else {
                break;
            };
            match wanted(&held) {
                true => taken.push(held),
                false => self.held.push_back((seq, held)),
            }
        }
        taken
    }

    fn writes_ahead(&self) -> bool {
        true
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held<M>>> {
        let Some((seq, held)) = self.held.front() else {
            return Poll::Ready(None);
        };
        let (seq, twice) = (*seq, self.may_go_again(&held.item));
        if self.poll_lost(cx).is_ready() {
            // Whoever reads ends the session.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.shared.poll(cx, |ledger| ledger.leave(seq, twice));
        if left.is_pending() {
            // Looked for once, not with each poll.
            let unmarked = match !twice && self.shared.with(|ledger| ledger.is_unmarked(seq)) {
                true => self.unmarked(),
                false => Vec::new(),
            };
            let gives_up = self.shared.with(|ledger| {
                ledger.mark(unmarked);
                ledger.has_lost() || ledger.is_shut()
            });
            if gives_up {
                // What is given up is taken out first: the one in front may be among it.
                cx.waker().wake_by_ref();
            }
        }
        ready!(left);
        let left = self.held.pop_front().map(|(_, mut held)| {
            match self.strategy.awaits(&held.item) {
                // Of two with one key, the layer below refuses the second.
                Some(key) => drop(self.keys.entry(key).or_insert(seq)),
                None => {
                    let ticket = held.item.ticket.get_or_insert_default().clone();
                    self.shared.with(|ledger| ledger.await_flush(seq, ticket));
                }
            }
            held
        });
        Poll::Ready(left)
    }

    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.poll(cx, |ledger| {
            ledger.came_back();
            ledger.poll_kept()
        })
    }

    fn given_up(&mut self) -> Option<(Held<M>, DropReason)> {
        loop {
            let (lost, is_shut) = self.shared.with(|ledger| (ledger.next_lost(), ledger.is_shut()));
            let Some((seq, reason)) = lost else {
                if !is_shut {
                    return None;
                }
                // Nothing can leave any more.
                return self.pop_front().map(|held| (held, DropReason::Closed));
            };
            if let Ok(at) = self.held.binary_search_by_key(&seq, |(seq, _)| *seq)
                && let Some((_, held)) = self.held.remove(at)
            {
                return Some((held, reason));
            }
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let lost = self
            .core
            .as_ref()
            .and_then(|core| core.tenure.as_ref())
            .map(|tenure| tenure.poll_lost(cx));
        let lost = lost.unwrap_or(Poll::Pending);
        if lost.is_ready() {
            self.shared.lose();
        }
        lost
    }

    fn awaits_flush(&self) -> bool {
        self.shared.with(|ledger| ledger.awaits_flush())
    }

    fn flushed(&mut self) {
        self.shared.with(Ledger::flushed);
    }

    fn settled(&mut self, item: &mut Outgoing<M>) {
        let Some(seq) = item.record.take().map(NonZeroU64::get) else {
            return;
        };
        self.release(seq, item);
        self.shared.with(|ledger| {
            ledger.goes_on();
            ledger.forget(seq);
        });
    }

    fn dropped(&mut self, item: &mut Outgoing<M>, reason: DropReason) -> Option<DropReason> {
        let Some(seq) = item.record.map(NonZeroU64::get) else {
            return Some(reason);
        };
        self.release(seq, item);
        let again = self.may_go_again(item);
        let (told, kept) = self.shared.with(|ledger| {
            // One of our own is no business of the reader's.
            item.ticket = item.ticket.take().filter(|_| ledger.is_waited_for(seq));
            ledger.dropped(seq, reason, again)
        });
        if !kept {
            item.record = None;
        }
        if told.is_none() && !self.is_up {
            self.take_back(None);
        }
        told
    }

    fn heard(&mut self, message: &M) {
        self.shared.with(Ledger::goes_on);
        if self.keys.is_empty() {
            return;
        }
        match self.strategy.acknowledges(message).map(|ack| ack.keys) {
            None => {}
            Some(Keys::One(key)) => self.acknowledged(&key),
            Some(Keys::Each(keys)) => keys.iter().for_each(|key| self.acknowledged(key)),
            Some(Keys::UpTo(key)) => {
                let keys: Vec<_> = self.keys.range(..=key).map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| self.acknowledged(key));
            }
        }
    }

    fn came_up(&mut self, up: &mut Up) {
        self.is_up = true;
        let first_id = self.shared.with(|ledger| {
            ledger.goes_on();
            ledger.first_id()
        });
        // One counter for everybody, and it goes on where that of the last process ended.
        let ids = self
            .ids
            .get_or_insert_with(|| up.extensions.get::<Ids>().cloned().unwrap_or_default());
        ids.skip_to(first_id);
        up.extensions.insert(ids.clone());
        if let Some(core) = &self.core {
            up.show(core.hub.source());
        }
    }

    fn went_down(&mut self, down: &Down) {
        self.is_up = false;
        self.shared.with(|ledger| match down.will_retry {
            true => ledger.goes_on(),
            false => ledger.came_back(),
        });
        self.take_back(Some(&down.cause));
    }
}

impl<M, S, P> SpoolStore<M, S, P>
where
    P: Pack<M>,
    S: Strategy<M>,
{
    /// What is out and was not flushed is with no connection any more.
    fn take_back(&mut self, cause: Option<&Failure>) {
        let returned = self.shared.with(Ledger::went_down);
        self.hold(returned, cause);
    }
}

impl<M, S, P> Drop for SpoolStore<M, S, P>
where
    S: Strategy<M>,
{
    fn drop(&mut self) {
        self.shared.with(Ledger::end);
    }
}

impl<M, S, P> fmt::Debug for SpoolStore<M, S, P>
where
    S: Strategy<M>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolStore")
            .field("held", &self.held.len())
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
