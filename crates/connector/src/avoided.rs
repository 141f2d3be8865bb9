use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Addresses that took a connection and never answered on it: of several addresses of a name they
/// are dialled last, for some time. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Avoided(Arc<Mutex<Vec<(IpAddr, Instant)>>>);

/// For how long: longer than an outage of one machine is noticed in, and as long as failover asks
/// at most.
const TIME: Duration = Duration::from_secs(300);

/// How many are known at most; the oldest goes.
const MOST: usize = 64;

impl Avoided {
    pub(crate) fn add(&self, address: IpAddr, now: Instant) {
        let mut all = self.lock();
        all.retain(|(other, until)| *other != address && *until > now);
        if all.len() == MOST {
            all.remove(0);
        }
        all.push((address, now + TIME));
    }

    pub(crate) fn remove(&self, address: IpAddr) {
        self.lock().retain(|(other, _)| *other != address);
    }

    pub(crate) fn has(&self, address: IpAddr, now: Instant) -> bool {
        self.lock()
            .iter()
            .any(|(other, until)| *other == address && *until > now)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(IpAddr, Instant)>> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_few_and_pass() {
        let (avoided, now) = (Avoided::default(), Instant::now());
        let address = |n: u8| IpAddr::from([127, 0, 0, n]);
        for n in 0..=64 {
            avoided.add(address(n), now);
            avoided.add(address(n), now);
        }
        assert!(!avoided.has(address(0), now), "the oldest went");
        assert!(avoided.has(address(1), now) && avoided.has(address(64), now));
        avoided.remove(address(1));
        assert!(!avoided.has(address(1), now));
        assert!(!avoided.has(address(64), now + TIME));
    }
}
