use std::time::Duration;

use bytes::Bytes;

use crate::cut::Cut;

/// What the [`Server`](crate::Server) does with a connection.
///
/// Unless its text says otherwise, a script upgrades as it should (choosing the first subprotocol
/// that is offered, no extension), commits its fault, and then echoes. Pings are answered, and so
/// are close frames, except where silence is the fault. Each script begins afresh on each
/// connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Script {
    /// No fault: every data message comes back.
    Echo,
    /// No fault: answers each JSON-RPC request `{"id":N,"method":..,"params":P}` with
    /// `{"jsonrpc":"2.0","id":N,"result":P}` (`null` without parameters), in order, each `delay`
    /// after it came.
    ///
    /// Notifications, responses and whatever is not JSON are recorded and not answered.
    JsonRpc {
        /// How long each answer takes. Answers overlap: ten requests at once take one delay.
        delay: Duration,
    },
    /// Answers `answers` JSON-RPC requests of each connection, reads the one after them, and cuts
    /// instead of answering.
    Flaky {
        /// Requests answered before the cut; with 0 the first request is fatal.
        answers: usize,
        /// How the connection ends.
        cut: Cut,
    },

    /// Upgrades and reads, and never writes anything: no echo, no pong, no close frame.
    Silent,
    /// Upgrades and never reads: the buffers between fill up, and writes stop at the peer.
    StopReading,
    /// Ends the handshake of TCP (and TLS), reads the request, and never replies.
    NeverReply,
    /// Replies at one byte per interval, so that a timeout for each read never fires; then echoes.
    ///
    /// tungstenite takes the 65th small read for an attack: choose an interval of which fewer fit
    /// into the deadline that is to be seen.
    SlowReply {
        /// The pause before each byte.
        interval: Duration,
    },

    /// Echoes for `after`, then sends a close frame, waits up to a second for the answer and ends
    /// with FIN.
    ///
    /// The code goes out as it stands, also one which is not allowed on the wire (999, 1005, 1006,
    /// 1015, 2999, 5000).
    Close {
        /// The close code (RFC 6455, section 7.4).
        code: u16,
        /// The reason; the protocol allows 123 bytes.
        reason: String,
        /// How long the connection works first.
        after: Duration,
    },
    /// Sends a close frame at once, and never FIN: the TCP connection stays until the server is
    /// dropped or cuts it.
    CloseNoFin {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// Sends a close frame (1000) at once, and the text `late` after it.
    DataAfterClose,
    /// Echoes for `after`, then FIN without a close frame (over TLS: with `close_notify`).
    Fin {
        /// How long the connection works first.
        after: Duration,
    },
    /// Echoes for `after`, then RST.
    Rst {
        /// How long the connection works first.
        after: Duration,
    },
    /// Sends the header of a text of 1000 bytes and 10 bytes of it, then cuts.
    CutMidFrame(Cut),

    /// Cuts after the upgrade request, before the first byte of the reply.
    CutBeforeReply(Cut),
    /// Cuts in the middle of the reply to the upgrade.
    CutMidReply(Cut),
    /// Refuses the upgrade with an HTTP status and ends with FIN.
    Status {
        /// The status code.
        code: u16,
        /// Additional headers (`Retry-After`, `Location`, `WWW-Authenticate`).
        headers: Vec<(String, String)>,
        /// The body; its length is sent as `Content-Length`.
        body: String,
    },
    /// Answers the first byte that comes with bytes that are neither HTTP nor TLS (the banner of an
    /// SSH server), then FIN.
    Garbage,
    /// `Sec-WebSocket-Accept` belongs to another key.
    WrongAccept,
    /// `Sec-WebSocket-Accept` is missing.
    NoAccept,
    /// `Sec-WebSocket-Accept` comes twice, first the right one.
    DoubleAccept,
    /// The `Upgrade` header is missing.
    NoUpgradeHeader,
    /// The `Connection` header is missing.
    NoConnectionHeader,
    /// Names this subprotocol, whether it was offered or not.
    Subprotocol(String),
    /// Names no subprotocol, although some were offered.
    NoSubprotocol,
    /// Names these extensions, although nobody asked.
    Extension(String),
    /// The reply has this many additional headers.
    ManyHeaders(usize),
    /// The reply has a header that never ends.
    EndlessHeader,
    /// A text message is glued to the reply, in one write.
    EarlyData(String),

    /// The header of a binary frame that claims this many bytes, and the first kibibyte of them.
    OversizeFrame {
        /// The length in the header.
        claims: u64,
    },
    /// One message in fragments of 64 KiB that never ends. Nothing that comes in is heeded.
    FragmentBomb,
    /// A text message of this many empty fragments, and a last one that says `end`.
    EmptyFragments(usize),
    /// A text message that is not UTF-8.
    InvalidUtf8,
    /// A text frame that is masked, which only clients may do.
    MaskedFrame,
    /// A text frame with RSV1 set, without an extension that gives it a meaning.
    Rsv1,
    /// A frame with the reserved opcode 3.
    BadOpcode,
    /// A pong that answers no ping.
    UnsolicitedPong,
    /// This many pings, as fast as they go.
    PingFlood(usize),
    /// These bytes in place of frames, for the fault that is missing here.
    Raw(Bytes),
}

impl Script {
    /// [`Script::JsonRpc`] without delay.
    #[must_use]
    pub fn json_rpc() -> Self {
        Self::JsonRpc { delay: Duration::ZERO }
    }

    /// [`Script::Close`] right after the upgrade.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        Self::Close {
            code,
            reason: reason.to_owned(),
            after: Duration::ZERO,
        }
    }

    /// [`Script::Fin`] right after the upgrade.
    #[must_use]
    pub fn fin() -> Self {
        Self::Fin { after: Duration::ZERO }
    }

    /// [`Script::Rst`] right after the upgrade.
    #[must_use]
    pub fn rst() -> Self {
        Self::Rst { after: Duration::ZERO }
    }

    /// [`Script::Status`] without a body.
    #[must_use]
    pub fn status(code: u16, headers: &[(&str, &str)]) -> Self {
        Self::Status {
            code,
            headers: headers
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: String::new(),
        }
    }
}
