//! The journal of a lane. Each commit is one statement, fenced by the owner's token and counted, so
//! that it may be tried again for as long as the lane is this process's.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_postgres::types::ToSql;
use tower_ws_core::{BoxError, Replay};
use tower_ws_spool::{Batch, Change, Contents, Journal, JournalError, Row, Tenure};

use crate::{
    error::FleetError,
    lease::{Lease, TAKEN},
    link::Link,
};

/// Nothing of it is done unless the lane is still the owner's and the commit has not been made. All
/// parts see the same state of the tables, so the count also keeps a late try from raising what a
/// later commit has removed.
const COMMIT: &str = "
    WITH fenced AS (
        UPDATE tower_ws_lane
        SET committed = $4, first_id = greatest(first_id, $5), until = clock_timestamp() + lease
        WHERE fleet = $1 AND name = $2 AND token = $3 AND committed < $4
        RETURNING token
    ), removed AS (
        DELETE FROM tower_ws_message USING fenced WHERE fleet = $1 AND lane = $2 AND seq = ANY($6::bigint[])
    ), marked AS (
        UPDATE tower_ws_message m SET leaving = c.leaving
        FROM fenced, unnest($7::bigint[], $8::boolean[]) AS c(seq, leaving)
        WHERE m.fleet = $1 AND m.lane = $2 AND m.seq = c.seq
    ), put AS (
        INSERT INTO tower_ws_message (fleet, lane, seq, accepted, deadline, replay, leaving, size, payload)
        SELECT $1, $2, p.*
        FROM fenced, unnest($9::bigint[], $10::bigint[], $11::bigint[], $12::smallint[], $13::boolean[], $14::bigint[],
            $15::bytea[]) AS p(seq, accepted, deadline, replay, leaving, size, payload)
    )
    SELECT token FROM fenced";
/// Whether the commit has been made, by a write: what a server has found in its log after a crash can
/// be read before its standby has it.
const COMMITTED: &str = "
    UPDATE tower_ws_lane SET until = clock_timestamp() + lease
    WHERE fleet = $1 AND name = $2 AND token = $3 AND committed = $4 RETURNING token";
/// Fenced as well: a server that was replaced by its standby, and lives on, would show an old state.
const LOAD: &str = "
    WITH fenced AS (
        UPDATE tower_ws_lane SET until = clock_timestamp() + lease
        WHERE fleet = $1 AND name = $2 AND token = $3 RETURNING first_id
    )
    SELECT f.first_id, m.seq, m.accepted, m.deadline, m.replay, m.leaving, m.size, m.payload
    FROM fenced f LEFT JOIN tower_ws_message m ON m.fleet = $1 AND m.lane = $2 ORDER BY m.seq";

/// How long one try of a commit may take before another connection tries it: a server that has
/// frozen may come back, or another one in its place.
const TRY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(20);
/// How long it may take to read what a lane holds.
const READ: Duration = Duration::from_secs(60);

pub(crate) struct LaneJournal {
    lease: Arc<Lease>,
    commits: i64,
}

impl LaneJournal {
    /// Once for each lease: its commits are counted from 1.
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, commits: 0 }
    }
}

/// What a lane holds, in the order of acceptance. Nobody else writes to it once it is owned.
pub(crate) async fn load(link: &Link, lease: &Lease) -> Result<Contents, FleetError> {
    let (fleet, name) = (&*lease.key.fleet, &*lease.key.name);
    let rows = link.query(LOAD, &[&fleet, &name, &lease.token], READ).await?;
    let Some(first) = rows.first() else {
        return Err(FleetError::Lost(name.to_owned()));
    };
    let first_id: i64 = first.try_get(0).map_err(FleetError::of)?;
    let held = rows.iter().filter_map(|row| message(row).transpose());
    Ok(Contents {
        rows: held.collect::<Result<_, _>>().map_err(FleetError::of)?,
        first_id: first_id.max(1) as u64,
    })
}

/// A lane that holds nothing has one row, without a message.
fn message(row: &tokio_postgres::Row) -> Result<Option<Row>, tokio_postgres::Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>(1)? else {
        return Ok(None);
    };
    Ok(Some(Row {
        seq: seq as u64,
        accepted: row.try_get(2)?,
        deadline: row.try_get(3)?,
        replay: replay(row.try_get(4)?),
        leaving: row.try_get(5)?,
        size: row.try_get::<_, i64>(6)?.try_into().unwrap_or(0),
        payload: row.try_get::<_, Vec<u8>>(7)?.into(),
    }))
}

impl Journal for LaneJournal {
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        self.commits += 1;
        let commit = Commit::of(self.lease.clone(), self.commits, batch);
        let (tell, told) = tokio::sync::oneshot::channel();
        self.lease.runtime.spawn(async move {
            // Nobody waits if the runtime is ending.
            let _ = tell.send(commit.make().await);
        });
        let ended = || JournalError::Unknown("the runtime that the lane was acquired on has ended".into());
        told.blocking_recv().map_err(|_| ended())?
    }

    fn tenure(&self) -> Option<Arc<dyn Tenure>> {
        Some(self.lease.clone())
    }
}

/// A batch in columns.
struct Commit {
    lease: Arc<Lease>,
    number: i64,
    first_id: i64,
    removed: Vec<i64>,
    marked: Vec<i64>,
    marks: Vec<bool>,
    put: Vec<i64>,
    accepted: Vec<i64>,
    deadlines: Vec<Option<i64>>,
    replays: Vec<i16>,
    leaving: Vec<bool>,
    sizes: Vec<i64>,
    payloads: Vec<Vec<u8>>,
}

impl Commit {
    fn of(lease: Arc<Lease>, number: i64, batch: &Batch) -> Self {
        let mut commit = Self {
            lease,
            number,
            first_id: batch.first_id() as i64,
            removed: Vec::new(),
            marked: Vec::new(),
            marks: Vec::new(),
            put: Vec::new(),
            accepted: Vec::new(),
            deadlines: Vec::new(),
            replays: Vec::new(),
            leaving: Vec::new(),
            sizes: Vec::new(),
            payloads: Vec::new(),
        };
        for (seq, change) in batch.changes() {
            let seq = seq as i64;
            match change {
                Change::Remove => commit.removed.push(seq),
                Change::Mark(leaving) => {
                    commit.marked.push(seq);
                    commit.marks.push(*leaving);
                }
                Change::Put(row) => {
                    commit.put.push(seq);
                    commit.accepted.push(row.accepted);
                    commit.deadlines.push(row.deadline);
                    commit.replays.push(code(row.replay));
                    commit.leaving.push(row.leaving);
                    commit.sizes.push(row.size as i64);
                    commit.payloads.push(row.payload.to_vec());
                }
            }
        }
        commit
    }

    /// Tries until it is known what became of it, or the lane is not this process's any more.
    async fn make(&self) -> Result<(), JournalError> {
        let lease = &*self.lease;
        // A try whose outcome is not known may be made by the server at any later time.
        let mut unknown = false;
        let over = |unknown, why: BoxError| match unknown {
            true => Err(JournalError::Unknown(why)),
            false => Err(JournalError::Lost(why)),
        };
        loop {
            let left = lease.left();
            if left.is_zero() {
                return over(unknown, FleetError::Lost(lease.key.name.to_string()).into());
            }
            match self.attempt(left.min(TRY)).await {
                Ok(Outcome::Made) => return Ok(()),
                Ok(Outcome::Taken) => {
                    lease.lose(TAKEN);
                    return over(unknown, TAKEN.into());
                }
                Err(error) if error.is_passing() => unknown = true,
                // The server has said no, to this try.
                Err(error) if !unknown => return Err(JournalError::Refused(error.into())),
                Err(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    async fn attempt(&self, within: Duration) -> Result<Outcome, FleetError> {
        let lease = &*self.lease;
        let asked = lease.now();
        let (fleet, name) = (&*lease.key.fleet, &*lease.key.name);
        let params: [&(dyn ToSql + Sync); 15] = [
            &fleet,
            &name,
            &lease.token,
            &self.number,
            &self.first_id,
            &self.removed,
            &self.marked,
            &self.marks,
            &self.put,
            &self.accepted,
            &self.deadlines,
            &self.replays,
            &self.leaving,
            &self.sizes,
            &self.payloads,
        ];
        let mut rows = lease.link.query(COMMIT, &params, within).await?;
        if rows.is_empty() {
            // An earlier try was made, or somebody else has the lane.
            rows = lease.link.query(COMMITTED, &params[..4], within).await?;
        }
        if rows.is_empty() {
            return Ok(Outcome::Taken);
        }
        lease.goes_on(asked);
        Ok(Outcome::Made)
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Made,
    Taken,
}

fn code(replay: Replay) -> i16 {
    match replay {
        Replay::Unknown => 0,
        Replay::Safe => 1,
        Replay::Unsafe => 2,
    }
}

fn replay(code: i16) -> Replay {
    match code {
        0 => Replay::Unknown,
        1 => Replay::Safe,
        // Whatever it is: once is enough.
        _ => Replay::Unsafe,
    }
}

#[cfg(test)]
mod tests;
