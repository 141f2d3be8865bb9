//! What stock layers of tower and tower-http mean in each plane. Documentation only.
//!
//! The same layer can stand in two places. Among connections, below or above reconnect, a *request*
//! is a dial, and its *response* a connection. On the [`Client`](crate::Client) a request is a
//! call, and its response a reply.
//!
//! | layer | among connections | on calls |
//! |---|---|---|
//! | `timeout` | below reconnect: bounds each dial, and a dial that it ends is tried again. Above: bounds the whole first connect, retries included. Never bounds how long a connection lives | the call is given up, as if its future were dropped. Whether it was sent, this error does not say: the time limit of a [`Request`](crate::Request) does |
//! | `concurrency_limit` | how many dials are in progress. Connections that are open do not count | how many calls are under way; the others are not even sent |
//! | `load_shed` | over a limit: a dial that would have to wait fails at once. Reconnect takes that for any failure | over a limit, or over a client that is [full](crate::client::ClientLayer::max_calls): the call fails at once |
//! | `rate_limit` | spaces the dials. Clones do not share it and reconnect makes clones, so put a `buffer` over it; [`RateLimitLayer`](crate::rate_limit::RateLimitLayer) is shared, knows messages and bytes, and heeds the server | spaces the calls of one handle, not of its clones; [`KeyedRateLimitLayer`](crate::rate_limit::KeyedRateLimitLayer) is shared |
//! | `retry` | dials again at once, and only for the first connection: reconnect does both better | makes a new call. Honest only for errors that are not [`may_have_been_seen`](crate::CallError::may_have_been_seen), or for requests that may be seen twice; the latter ack sends again anyway |
//! | `buffer` | makes a clone of a service that has none, which reconnect needs; one task for all dials | a second queue before the client's own, with another bound; rarely wanted |
//! | `map_request` | changes the target of each dial: an address, a header that is new each time | makes calls of whatever the application has |
//! | tower-http's `SetRequestHeader`, `AddAuthorization`, `request_id` | between [`LiftLayer`](crate::transport::LiftLayer) and [`UpgradeLayer`](crate::transport::UpgradeLayer), where requests and responses are HTTP's: headers of each handshake. Credentials that change are [`auth`](crate::auth)'s | do not fit: a call has no headers |
//!
//! Each cell is a test of that name in `tests/stock.rs`, the last row in `tests/shapes.rs`.
//!
//! # Why does my limit not bound the open connections?
//!
//! Because a connection is the *response* of a dial, and tower's limits end with the response. To
//! bound connections, keep the permit in what holds the connection.
