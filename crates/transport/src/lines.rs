//! Lines of text over any byte stream: a child process's stdio, a Unix socket, a pipe.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{
    BoxError, Deadlines, DropReason, Failure, FailureKind, Lift, MapConnection, Progress, Up, Wire, Wrap,
};

use crate::io::Counted;

/// Layers [`Lines`] over a service of byte streams.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use futures_util::{SinkExt, StreamExt};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_ws_core::{BoxError, Event};
/// use tower_ws_transport::lines::LinesLayer;
///
/// // Any service of byte streams will do: here both ends are ours.
/// let pipe = service_fn(|()| async {
///     let (near, far) = tokio::io::duplex(64);
///     tokio::spawn(async move {
///         let (read, mut write) = tokio::io::split(far);
///         tokio::io::copy(&mut tokio::io::BufReader::new(read), &mut write).await
///     });
///     Ok::<_, BoxError>(near)
/// });
///
/// let mut connection = LinesLayer::new().layer(pipe).oneshot(()).await.unwrap();
/// assert!(matches!(connection.next().await, Some(Event::Up(_))));
/// connection.send("hello".to_owned().into()).await.unwrap();
/// assert!(matches!(connection.next().await, Some(Event::Message(line)) if line == "hello"));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LinesLayer {
    to_connection: ToLines,
}

/// Makes [connections](tower_ws_core::Connection) of byte streams: each message is a line of UTF-8
/// text.
///
/// A message with a newline in it, or a carriage return at its end, would arrive as something else:
/// it comes back as [`Dropped`](tower_ws_core::Event::Dropped). Closing ends the write side; there
/// are no pings, and so no life sign but the messages themselves.
#[derive(Clone, Debug)]
pub struct Lines<S> {
    inner: S,
    to_connection: ToLines,
}

/// The connection of [`Lines`], over byte streams of type `IO`.
pub type LinesConnection<IO> = Lift<Framed<Counted<IO>, LinesCodec>, String, LinesWire>;

/// How [`Lines`] makes a connection of a byte stream.
#[derive(Clone, Copy, Debug)]
pub struct ToLines {
    wire: LinesWire,
    deadlines: Deadlines,
}

/// What lines mean to [`Lift`].
#[derive(Clone, Copy, Debug)]
pub struct LinesWire {
    limit: usize,
}

// === impl LinesLayer ===

impl LinesLayer {
    /// The default of [`max_length`](Self::max_length): 16 MiB, as for WebSocket messages.
    pub const MAX_LENGTH: usize = 16 << 20;

    /// The defaults: [`MAX_LENGTH`](Self::MAX_LENGTH) and the default [`Deadlines`].
    pub fn new() -> Self {
        Self {
            to_connection: ToLines {
                wire: LinesWire {
                    limit: Self::MAX_LENGTH,
                },
                deadlines: Deadlines::default(),
            },
        }
    }

    /// Sets the longest line, in bytes without its end, in both directions. A longer one that goes
    /// out comes back as [`Dropped`](tower_ws_core::Event::Dropped); one that comes in ends the
    /// connection.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.to_connection.wire.limit = bytes;
        self
    }

    /// Sets how long a connection waits for its peer.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.to_connection.deadlines = deadlines;
        self
    }
}

impl Default for LinesLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for LinesLayer {
    type Service = Lines<S>;

    fn layer(&self, inner: S) -> Lines<S> {
        Lines {
            inner,
            to_connection: self.to_connection,
        }
    }
}

// === impl Lines ===

impl<S, T> Service<T> for Lines<S>
where
    S: Service<T>,
    S::Response: AsyncRead + AsyncWrite,
{
    type Response = LinesConnection<S::Response>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, ToLines>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.to_connection)
    }
}

// === impl ToLines ===

impl<IO: AsyncRead + AsyncWrite> Wrap<IO> for ToLines {
    type Connection = LinesConnection<IO>;

    fn wrap(self, io: IO) -> LinesConnection<IO> {
        let progress = Progress::new();
        // Its codec has a buffer that grows.
        let io = Counted::new(io, Bytes::new(), progress.clone(), 0);
        let socket = Framed::new(io, LinesCodec::new_with_max_length(self.wire.limit));
        Lift::with_wire(socket, self.wire)
            .deadlines(self.deadlines, Some(progress))
            .up(Up::new().through("lines"))
    }
}

// === impl LinesWire ===

impl Wire<String> for LinesWire {
    fn admit(&self, line: &String) -> Result<(), DropReason> {
        if line.len() > self.limit {
            return Err(DropReason::TooLarge {
                size: line.len(),
                limit: self.limit,
            });
        }
        if line.contains('\n') || line.ends_with('\r') {
            return Err(DropReason::Refused(
                "it contains the end of a line: escape it, as json does",
            ));
        }
        Ok(())
    }

    fn failure(&self, error: BoxError) -> Failure {
        match error.downcast::<LinesCodecError>().map(|error| *error) {
            Ok(LinesCodecError::MaxLineLengthExceeded) => Failure::new(
                FailureKind::Policy,
                format!(
                    "the peer sent a line of more than {} bytes, which is the limit: raise it or ask for less",
                    self.limit
                ),
            ),
            Ok(LinesCodecError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::new(FailureKind::Protocol, "the peer sent a line that is not utf-8").with_source(error)
            }
            Ok(LinesCodecError::Io(error)) => Failure::of(error),
            Err(error) => Failure::of(error),
        }
    }
}
