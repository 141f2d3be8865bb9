//! What a server says of its tools' effects, learnt from what it answers the library.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::Replay;

use crate::{trust::Trust, types::Tool};

/// Whether annotations are believed, and what they say. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trusting {
    believes: Arc<AtomicBool>,
    tools: Trust,
}

impl Trusting {
    pub(super) fn begin(&self) {
        self.believes.store(true, Ordering::Relaxed);
    }

    /// A page of tools came.
    pub(super) fn learn(&self, page: &RawValue) {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            tools: Vec<&'a RawValue>,
        }
        if !self.believes.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(page) = serde_json::from_str::<Page<'_>>(page.get()) {
            let tools = page.tools.into_iter();
            self.tools
                .believe(tools.filter_map(|tool| serde_json::from_str::<Tool>(tool.get()).ok()));
        }
    }

    /// Whether the call with these parameters may be seen twice.
    pub(super) fn replay_of(&self, params: Option<&RawValue>) -> Replay {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let params = params.and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok());
        params.map_or(Replay::Unknown, |params| self.tools.replay(&params.name))
    }
}
