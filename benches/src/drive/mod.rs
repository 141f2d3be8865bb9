//! What keeps a window of messages in flight, shared by the kinds so that they differ in the client
//! alone.

pub(crate) mod calls;
pub(crate) mod echo;
