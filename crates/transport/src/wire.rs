use std::{borrow::Cow, io};

use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    protocol::frame::coding::CloseCode,
};
use tower_ws_core::{BoxError, Close, DropReason, Failure, FailureKind, OverLimit, Wire, find};

use crate::{
    limits::Limits,
    message::{Kind, Message},
    scan::FrameError,
    upgrade::Secrets,
};

/// What WebSocket messages mean to [`Lift`](tower_ws_core::Lift).
#[derive(Clone, Debug)]
pub struct WebSocketWire {
    message: usize,
    piece: usize,
    /// What the handshake sent: a reason for closing may repeat it.
    secrets: Secrets,
}

/// The most a control frame may carry (RFC 6455, section 5.5), and a close frame besides its code.
const CONTROL: usize = 125;
const REASON: usize = CONTROL - 2;

impl WebSocketWire {
    /// With the limits on outgoing messages.
    pub fn new(limits: &Limits) -> Self {
        Self {
            message: limits.message_out,
            piece: limits.piece(),
            secrets: Secrets::default(),
        }
    }

    /// Cuts these out of the reasons that the peer closes with.
    pub(crate) fn without(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }
}

impl Wire<Message> for WebSocketWire {
    fn admit(&self, message: &Message) -> Result<(), DropReason> {
        let limit = match message.kind() {
            Kind::Text | Kind::Binary => self.message,
            Kind::Ping | Kind::Pong => CONTROL,
            Kind::Close if !message.may_be_sent() => {
                return Err(DropReason::Refused("this close code must not be sent"));
            }
            Kind::Close => REASON,
            // It could end up between two pieces of another message.
            Kind::Fragment => return Err(DropReason::Refused("fragments cannot be sent; send a message")),
        };
        let size = message.len();
        if size > limit {
            return Err(DropReason::TooLarge { size, limit });
        }
        Ok(())
    }

    /// Frames of the fragment size: the first names the type, the others continue it, the last is
    /// final (RFC 6455, section 5.4). Nothing is copied.
    fn split(&self, message: &mut Message) -> Option<Message> {
        message.split(self.piece)
    }

    /// Pings and pongs. A close frame would, too, but it would leave the other message unfinished
    /// for ever.
    fn interleaves(&self, message: &Message) -> bool {
        matches!(message.kind(), Kind::Ping | Kind::Pong)
    }

    fn close(&self, message: &Message) -> Option<Close> {
        let close = message.as_close()?;
        Some(Close {
            reason: self.secrets.cut(&close.reason, true),
            ..close
        })
    }

    fn farewell(&self) -> Option<Message> {
        Some(close(CloseCode::Normal, ""))
    }

    fn protest(&self, failure: &Failure) -> Option<Message> {
        if let Some(error) = find::<FrameError>(failure) {
            return Some(match error {
                FrameError::TooManyFragments { .. } => close(CloseCode::Size, "too many fragments"),
                FrameError::TooSlow { .. } => close(CloseCode::Policy, "message too slow"),
                FrameError::LongLength { .. } => close(CloseCode::Protocol, "length not minimal"),
                FrameError::IllegalCloseCode { .. } => close(CloseCode::Protocol, "illegal close code"),
            });
        }
        if find::<OverLimit>(failure).is_some() {
            return Some(close(CloseCode::Size, "message too large"));
        }
        let Some(error) = find::<Error>(failure) else {
            // Another framing has errors of its own.
            return (failure.kind() == FailureKind::Protocol).then(|| close(CloseCode::Protocol, "protocol error"));
        };
        match error {
            Error::Utf8(_) => Some(close(CloseCode::Invalid, "invalid utf-8")),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(close(CloseCode::Protocol, "protocol error")),
            _ => None,
        }
    }

    fn failure(&self, error: BoxError) -> Failure {
        match error.downcast::<Error>() {
            Ok(error) => classify(*error),
            Err(error) => Failure::of(error),
        }
    }

    fn ended(&self) -> Failure {
        unclosed()
    }
}

fn classify(error: Error) -> Failure {
    let (kind, message): (_, Cow<'static, str>) = match &error {
        Error::Io(io) if io.kind() == io::ErrorKind::UnexpectedEof => return unclosed().with_source(error),
        Error::Io(io) => return bad_frames(io).unwrap_or_else(|| Failure::of(error)),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return unclosed().with_source(error),
        Error::ConnectionClosed | Error::AlreadyClosed => return unclosed(),
        Error::Protocol(ProtocolError::SendAfterClosing) => {
            (FailureKind::Local, "this side has sent its close frame already".into())
        }
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            let (size, limit) = (*size, *max_size);
            let text = format!(
                "the peer sent a message of {size} bytes or more; the limit is {limit}: raise it or ask for less"
            );
            return Failure::new(FailureKind::Policy, text).with_source(OverLimit { size, limit });
        }
        Error::Utf8(_) => (FailureKind::Protocol, "the peer sent text that is not utf-8".into()),
        // It holds the message, which belongs into no log.
        Error::WriteBufferFull(_) => return Failure::new(FailureKind::Local, "the write buffer is full"),
        _ => (FailureKind::Protocol, "the peer broke the websocket protocol".into()),
    };
    Failure::new(kind, message).with_source(error)
}

/// The verdict of what looks at frames below the codec.
fn bad_frames(error: &io::Error) -> Option<Failure> {
    let error = *find::<FrameError>(error)?;
    let (kind, message) = match error {
        FrameError::TooManyFragments { .. } => (FailureKind::Policy, "a message came in too many pieces"),
        // A slow link may be a better one the next time.
        FrameError::TooSlow { .. } => (FailureKind::Timeout, "a message did not end"),
        FrameError::LongLength { .. } => (
            FailureKind::Protocol,
            "a frame came with a length that the protocol forbids",
        ),
        FrameError::IllegalCloseCode { .. } => (FailureKind::Protocol, "the peer closed as the protocol forbids"),
    };
    Some(Failure::new(kind, message).with_source(error))
}

/// 1006, as it were: no close frame, no error.
fn unclosed() -> Failure {
    Failure::new(
        FailureKind::Network,
        "the peer ended the connection without a close frame",
    )
}

fn close(code: CloseCode, reason: &'static str) -> Message {
    Message::close(code.into(), reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn wire(limits: Limits) -> WebSocketWire {
        WebSocketWire::new(&limits)
    }

    #[test]
    fn too_large_names_both_numbers() {
        let wire = wire(Limits::default().message_out(10));
        assert!(wire.admit(&Message::text("x".repeat(10))).is_ok());
        let refused = wire.admit(&Message::text("x".repeat(11)));
        assert_eq!(refused, Err(DropReason::TooLarge { size: 11, limit: 10 }));
        let refused = wire.admit(&Message::ping(vec![0; 126]));
        assert_eq!(refused, Err(DropReason::TooLarge { size: 126, limit: 125 }));
    }

    #[test]
    fn a_reason_that_repeats_a_secret_is_cut() {
        let secrets = Secrets::of(&"ws://a/?key=s3cr3t-key".parse().unwrap(), &HeaderMap::new(), &[]);
        let wire = wire(Limits::default()).without(secrets);
        let heard = wire.close(&Message::close(4401, "the key s3cr3t-key has expired"));
        assert_eq!(heard.unwrap().reason, "the key [cut] has expired");
    }

    #[test]
    fn what_would_break_the_protocol_is_refused() {
        let wire = wire(Limits::default());
        for code in [999, 1006, 1015] {
            assert!(wire.admit(&close(code.into(), "")).is_err(), "{code}");
        }
        for code in [1000, 1001, 1005, 3000, 4999] {
            assert!(wire.admit(&close(code.into(), "")).is_ok(), "{code}");
        }
        let piece = wire
            .split(&mut Message::text("x".repeat(1 << 20)))
            .expect("a large one");
        assert!(wire.admit(&piece).is_err());
    }

    #[test]
    fn failures_are_classified_and_protested_against() {
        let wire = wire(Limits::default());
        let of = |error: Error| {
            let failure = wire.failure(error.into());
            let code = wire
                .protest(&failure)
                .map(|message| message.as_close().expect("a close frame").code);
            (failure.kind(), code)
        };
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of(Error::Io(reset)), (FailureKind::Network, None));
        let fin = ProtocolError::ResetWithoutClosingHandshake;
        assert_eq!(of(fin.into()), (FailureKind::Network, None));
        assert_eq!(
            of(ProtocolError::NonZeroReservedBits.into()),
            (FailureKind::Protocol, Some(1002))
        );
        assert_eq!(of(Error::Utf8(String::new())), (FailureKind::Protocol, Some(1007)));
        for (error, expected) in [
            (FrameError::TooManyFragments { limit: 1 }, (FailureKind::Policy, 1009)),
            (
                FrameError::TooSlow { limit: Duration::MAX },
                (FailureKind::Timeout, 1008),
            ),
            (FrameError::LongLength { length: 1 }, (FailureKind::Protocol, 1002)),
            (
                FrameError::IllegalCloseCode { code: 999 },
                (FailureKind::Protocol, 1002),
            ),
        ] {
            assert_eq!(of(Error::Io(io::Error::other(error))), (expected.0, Some(expected.1)));
        }
        let large = CapacityError::MessageTooLong { size: 2, max_size: 1 };
        assert_eq!(of(large.into()), (FailureKind::Policy, Some(1009)));
    }

    proptest! {
        #[test]
        fn pieces_make_the_message(len in 0..60_000usize, piece in 0..20_000usize, text: bool) {
            let wire = wire(Limits::default().fragment(piece));
            let payload = "a".repeat(len);
            let mut message = if text { Message::text(payload.clone()) } else { Message::binary(payload.clone()) };
            let mut frames = Vec::new();
            while let Some(piece) = wire.split(&mut message) {
                prop_assert_eq!(piece.len(), wire.piece);
                frames.push(piece);
            }
            if frames.is_empty() {
                prop_assert!(len <= wire.piece);
                prop_assert_eq!(message.as_bytes(), payload.as_bytes());
            } else {
                prop_assert!((1..=wire.piece).contains(&message.len()));
                frames.push(message);
                let fragments: Vec<_> = frames.iter().map(|frame| frame.fragment().expect("one")).collect();
                let first = if text { 1 } else { 2 };
                let last = fragments.len() - 1;
                let expected = (0..=last).map(|n| (if n == 0 { first } else { 0 }, n == last));
                prop_assert_eq!(&fragments, &expected.collect::<Vec<_>>());
                let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect();
                prop_assert_eq!(joined, payload.as_bytes());
            }
        }
    }
}
