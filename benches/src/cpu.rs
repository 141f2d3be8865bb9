//! Processor time: of this process, of the peer, of everybody else.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};

use crate::BoxError;

/// Processor time used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// By all threads of this process, in microseconds.
    client: u64,
    /// How often this process has slept.
    sleeps: i64,
    /// By the peer, in ticks.
    peer: u64,
    /// By the whole machine, in ticks: busy, and in all.
    machine: (u64, u64),
}

impl Clocks {
    pub(crate) fn read(peer: u32) -> Result<Self, BoxError> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        Ok(Self {
            client: micros(usage.user_time()) + micros(usage.system_time()),
            sleeps: usage.voluntary_context_switches(),
            peer: peer_ticks(&fs::read_to_string(format!("/proc/{peer}/stat"))?)
                .ok_or("an unknown format of /proc/<pid>/stat")?,
            machine: machine_ticks(&fs::read_to_string("/proc/stat")?).ok_or("an unknown format of /proc/stat")?,
        })
    }

    /// What this process has used since `before`.
    pub(crate) fn client_since(&self, before: &Self) -> Duration {
        Duration::from_micros(self.client - before.client)
    }

    /// How often this process has woken up since `before`.
    pub(crate) fn wake_ups_since(&self, before: &Self) -> i64 {
        self.sleeps - before.sleeps
    }

    /// The share of the whole machine that neither this process nor the peer has used since
    /// `before`, from 0 to 1. Ticks are coarse (10 ms): some hundredths mean nothing.
    pub(crate) fn others_since(&self, before: &Self) -> Result<f64, BoxError> {
        let per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("the length of a tick is unknown")? as f64;
        let client = self.client_since(before).as_secs_f64() * per_second;
        let peer = self.peer.saturating_sub(before.peer) as f64;
        let busy = self.machine.0.saturating_sub(before.machine.0) as f64;
        let all = self.machine.1.saturating_sub(before.machine.1).max(1) as f64;
        Ok(((busy - client - peer) / all).max(0.0))
    }
}

fn micros(time: TimeVal) -> u64 {
    time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64
}

/// User and system time: fields 14 and 15, counted behind the name, which may contain anything.
fn peer_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The first line is `cpu user nice system idle iowait irq softirq steal ..`; guest time is part of
/// user time.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let all: u64 = ticks.iter().sum();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}
