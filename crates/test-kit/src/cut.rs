use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How a TCP connection is ended: politely or not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cut {
    /// The sending side is shut down, as when a process exits in good order or an idle timer of a
    /// middlebox fires.
    ///
    /// What the peer still sends is read and dropped for up to a second, since a socket that is
    /// closed with unread data sends RST instead.
    Fin,
    /// The connection is reset (`SO_LINGER` of zero), as when a peer crashes or a middlebox forgets
    /// the connection.
    Rst,
}

/// How long a connection ended by [`Cut::Fin`] waits for the end of its peer.
const DRAIN: Duration = Duration::from_secs(1);

impl Cut {
    pub(crate) async fn apply(self, mut tcp: TcpStream) {
        match self {
            Self::Fin => {
                // Errors mean that the peer was faster: there is nothing left to end.
                if tcp.shutdown().await.is_ok() {
                    let mut void = tokio::io::sink();
                    let _ = timeout(DRAIN, tokio::io::copy(&mut tcp, &mut void)).await;
                }
            }
            Self::Rst => {
                let _ = tcp.set_zero_linger();
            }
        }
    }
}
