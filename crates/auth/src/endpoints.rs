//! What is known of the credential of each endpoint: what one server refuses another may take. No I/O.

use std::{sync::Arc, time::Duration};

use crate::cache::Cache;

#[derive(Debug)]
pub(crate) struct Endpoints {
    ahead: Duration,
    /// The one that was asked for last stands last.
    known: Vec<(Arc<str>, Cache)>,
    /// The highest number of a credential whose endpoint was forgotten: none is used twice.
    generation: u64,
}

/// As many endpoints are known at a time, more than anybody fails over between; then the one that was
/// not asked for longest is forgotten.
const MOST: usize = 64;

impl Endpoints {
    pub(crate) fn new(ahead: Duration) -> Self {
        Self {
            ahead,
            known: Vec::new(),
            generation: 0,
        }
    }

    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = ahead;
        for (_, cache) in &mut self.known {
            cache.set_ahead(ahead);
        }
    }

    /// What is known of this one.
    pub(crate) fn of(&mut self, endpoint: &Arc<str>) -> &mut Cache {
        let found = self.known.iter().position(|(known, _)| known == endpoint);
        let entry = match found {
            Some(at) => self.known.remove(at),
            None => {
                if self.known.len() == MOST {
                    let (_, forgotten) = self.known.remove(0);
                    self.generation = self.generation.max(forgotten.generation());
                }
                (endpoint.clone(), Cache::new(self.ahead, self.generation))
            }
        };
        self.known.push(entry);
        let last = self.known.len() - 1;
        &mut self.known[last].1
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;
    use crate::{cache::Asked, credential::Credential};

    #[test]
    fn they_are_few_and_no_credential_is_taken_for_another() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut endpoints = Endpoints::new(Duration::from_secs(60));
        let name = |n: usize| Arc::<str>::from(format!("wss://{n}:443"));
        let fetched = |endpoints: &mut Endpoints, n| {
            endpoints
                .of(&name(n))
                .fetched(Ok(Credential::new("s")), now, 0.0)
                .expect("it is taken")
        };
        let first = fetched(&mut endpoints, 0);
        for n in 1..MOST {
            fetched(&mut endpoints, n);
        }
        // It is asked for, so another one is forgotten.
        assert!(matches!(endpoints.of(&name(0)).ask(now, wall), Asked::Here(_)));
        fetched(&mut endpoints, MOST);
        assert!(matches!(endpoints.of(&name(0)).ask(now, wall), Asked::Here(_)));
        assert!(matches!(endpoints.of(&name(1)).ask(now, wall), Asked::Fetch));
        assert_eq!(endpoints.known.len(), MOST);
        let again = fetched(&mut endpoints, 1);
        assert!(again > first, "the number of the forgotten one is not used again");
    }
}
