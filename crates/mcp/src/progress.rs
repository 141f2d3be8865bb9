use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use tokio::sync::watch;
use tower_ws_core::{ConnectionId, Excerpt};

/// How far a call has come, by the server's word.
#[derive(Clone, Default, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done. It increases with each report.
    pub progress: f64,
    /// How much there is to do, in the same unit, if the server knows.
    #[serde(default)]
    pub total: Option<f64>,
    /// What it is doing.
    #[serde(default)]
    pub message: Option<String>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("progress", &self.progress)
            .field("total", &self.total)
            .field("message", &self.message.as_deref().map(Excerpt::new))
            .finish()
    }
}

/// Who waits for which reports. Filled by calls, emptied as they end; looked into by the connection
/// that reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(Arc<Mutex<HashMap<String, watch::Sender<Option<Progress>>>>>);

/// A call's place among the reports, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    reports: Reports,
    token: String,
}

impl Reports {
    /// A new token, and where what is reported under it arrives: the newest, so that nobody has to
    /// keep up.
    pub(crate) fn open(&self) -> (Place, watch::Receiver<Option<Progress>>) {
        let token = token();
        let (sender, receiver) = watch::channel(None);
        self.lock().insert(token.clone(), sender);
        let reports = self.clone();
        (Place { reports, token }, receiver)
    }

    /// Takes a report in. False if it is for nobody here.
    pub(crate) fn take(&self, params: &str) -> bool {
        #[derive(Deserialize)]
        struct Report {
            #[serde(rename = "progressToken")]
            token: String,
            #[serde(flatten)]
            progress: Progress,
        }
        let Ok(Report { token, progress }) = serde_json::from_str(params) else {
            return false;
        };
        match self.lock().get(&token) {
            Some(sender) => {
                sender.send_replace(Some(progress));
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Progress>>>> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token. Unique beyond this process: there are gateways that tell every client of everybody's
/// progress.
pub(crate) fn token() -> String {
    format!("{}{}", ConnectionId::random(), ConnectionId::random())
}

impl Place {
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.reports.lock().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_find_their_call_and_nobody_elses() {
        let reports = Reports::default();
        let (place, receiver) = reports.open();
        let (other, _) = reports.open();
        assert_ne!(place.token(), other.token());
        let report = |token: &str| format!(r#"{{"progressToken":"{token}","progress":1,"total":4,"message":"m"}}"#);
        assert!(reports.take(&report(place.token())));
        assert_eq!(receiver.borrow().as_ref().and_then(|report| report.total), Some(4.0));
        assert!(!reports.take(&report("somebody else's")));
        assert!(!reports.take(r#"{"progressToken":7,"progress":1}"#));
        assert!(!reports.take("no json"));
        let token = place.token().to_owned();
        drop(place);
        assert!(!reports.take(&report(&token)));
    }
}
