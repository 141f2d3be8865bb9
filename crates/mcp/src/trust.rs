use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tower_ws_core::Replay;

use crate::types::Tool;

/// Which tools may be called twice, by annotations that the application trusts. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(Arc<Mutex<HashMap<String, bool>>>);

impl Trust {
    /// How many tools are known: 16,384. What a server lists beyond is called once only.
    const MOST: usize = 16 << 10;

    /// Believes the annotations of these tools.
    pub(crate) fn believe(&self, tools: impl IntoIterator<Item = Tool>) {
        let mut known = self.lock();
        for tool in tools {
            if known.len() < Self::MOST || known.contains_key(&tool.name) {
                known.insert(tool.name, tool.annotations.may_be_repeated());
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Whether a call of this tool may be seen twice.
    pub(crate) fn replay(&self, tool: &str) -> Replay {
        match self.lock().get(tool) {
            Some(true) => Replay::Safe,
            _ => Replay::Unknown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
