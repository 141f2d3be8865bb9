//! The server's requests that the library has not answered. No I/O.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tower_ws_client::ServerRequest;
use tower_ws_core::jsonrpc::{Call, with_id};

/// How many there may be: 4,096. One more is refused: what the server asks and nobody answers must
/// not fill the memory.
const MOST: usize = 4096;

/// The library gets them under ids of ours, since those of two connections may be the same.
#[derive(Default)]
pub(super) struct Asked {
    pending: HashMap<u64, Pending>,
    last: u64,
}

struct Pending {
    /// The id that the server knows it by.
    theirs: Box<RawValue>,
    request: ServerRequest,
}

impl Asked {
    /// What the library is to be asked, or the request back if it is one too many.
    pub(super) fn ask(&mut self, request: ServerRequest) -> Result<Option<String>, ServerRequest> {
        if self.pending.len() >= MOST {
            return Err(request);
        }
        self.last += 1;
        let theirs = Call::parse(request.text())
            .ok()
            .and_then(|call| call.id.map(ToOwned::to_owned));
        let text = with_id(request.text(), self.last).and_then(|text| String::from_utf8(text.into()).ok());
        if let (Some(theirs), Some(_)) = (theirs, &text) {
            self.pending.insert(self.last, Pending { theirs, request });
        }
        Ok(text)
    }

    /// The library answers the request with this id of ours.
    pub(super) fn answered(&mut self, id: &RawValue) -> Option<ServerRequest> {
        let id = id.get().parse().ok()?;
        Some(self.pending.remove(&id)?.request)
    }

    /// The server waits no longer for the answer to its request with this id; ours is given.
    pub(super) fn cancelled(&mut self, theirs: &RawValue) -> Option<u64> {
        let found = self
            .pending
            .iter()
            .find(|(_, asked)| asked.theirs.get() == theirs.get());
        let id = *found?.0;
        self.pending.remove(&id)?.request.discard();
        Some(id)
    }

    /// The connection is gone that all of them came on; their ids are given.
    pub(super) fn lost(&mut self) -> Vec<u64> {
        let mut gone: Vec<u64> = self.pending.drain().map(|(id, _)| id).collect();
        gone.sort_unstable();
        gone
    }
}
