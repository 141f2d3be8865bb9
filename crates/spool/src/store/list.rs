//! The store as the queue sees it.

use std::{
    num::NonZeroU64,
    task::{Context, Poll},
};

use tower_ws_ack::{Keys, Strategy};
use tower_ws_core::{Down, DropReason, Outgoing, Pack, Up, jsonrpc::Ids};
use tower_ws_queue::{Held, Store};

use super::{SpoolStore, unmark};
use crate::record::Place;

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
        let (seq, held) = self.held.pop_front()?;
        if let Some(record) = self.records.get_mut(&seq) {
            record.place = Place::Out;
            match self.strategy.awaits(&held.item) {
                // Of two with one key, the layer below refuses the second.
                Some(key) => drop(self.keys.entry(key).or_insert(seq)),
                None => self.unkeyed.push(seq),
            }
        }
        Some(held)
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

    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.collect();
        if !self.lost.is_empty() {
            // They are taken out first: the one in front may be among them.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some((seq, held)) = self.held.front() else {
            return Poll::Ready(());
        };
        let (seq, safe) = (*seq, self.may_go_again(&held.item));
        let Some(record) = self.records.get(&seq) else {
            return Poll::Ready(());
        };
        if safe {
            return self.core.shared.poll_done(record.written, cx);
        }
        let marked = record.marked;
        let marked = marked.or_else(|| {
            self.mark_ahead();
            self.records.get(&seq)?.marked
        });
        self.core.shared.poll_done(marked.unwrap_or_default(), cx)
    }

    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.delete_reported();
        let done = self.core.shared.poll_done(self.written, cx);
        self.collect();
        done
    }

    fn given_up(&mut self) -> Option<(Held<M>, DropReason)> {
        while let Some((seq, reason)) = self.lost.pop_front() {
            if let Ok(at) = self.held.binary_search_by_key(&seq, |(seq, _)| *seq)
                && let Some((_, held)) = self.held.remove(at)
            {
                return Some((held, reason));
            }
        }
        None
    }

    fn flushed(&mut self) {
        for seq in std::mem::take(&mut self.unkeyed) {
            if self.records.get(&seq).is_some_and(|record| record.place == Place::Out) {
                self.forget(seq);
            }
        }
    }

    fn settled(&mut self, item: &mut Outgoing<M>, dropped: Option<&DropReason>) {
        let Some(seq) = item.record.map(NonZeroU64::get) else {
            return;
        };
        self.delete_reported();
        if dropped.is_none() {
            self.goes_on();
        }
        if let Some(key) = self.strategy.awaits(item)
            && self.keys.get(&key) == Some(&seq)
        {
            self.keys.remove(&key);
        }
        let nobody_waits = item.ticket.is_none();
        match dropped {
            // Never sent, and nobody has been told that it will not be.
            Some(DropReason::Closed) if nobody_waits && self.records.contains_key(&seq) => {
                if let Some(record) = self.records.get_mut(&seq) {
                    record.place = Place::Kept;
                    unmark([record], &self.core.shared);
                }
                return;
            }
            Some(DropReason::Interrupted(_)) if nobody_waits && self.may_go_again(item) => {
                self.interrupted.push(seq);
            }
            Some(_) => self.reported.push(seq),
            None => self.forget(seq),
        }
        item.record = None;
    }

    fn heard(&mut self, message: &M) {
        self.delete_reported();
        self.goes_on();
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
        self.delete_reported();
        self.goes_on();
        // One counter for everybody, and it goes on where that of the last process ended.
        let ids = self
            .ids
            .get_or_insert_with(|| up.extensions.get::<Ids>().cloned().unwrap_or_default());
        ids.skip_to(self.core.shared.first_id());
        up.extensions.insert(ids.clone());
        if !self.locked_out {
            up.show(self.core.hub.source());
        }
    }

    fn went_down(&mut self, down: &Down) {
        self.delete_reported();
        if down.will_retry {
            self.goes_on();
        }
        // What did not leave with this connection is not leaving.
        let held = self.records.values_mut().filter(|record| record.place == Place::Held);
        unmark(held, &self.core.shared);
    }
}
