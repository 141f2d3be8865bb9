//! The laws of a connection, kept over sockets and pipes.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use hyper_util::rt::TokioIo;
use support::{
    AnyFraming, Conn, dial,
    far::{Far, FarLines},
    get,
};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::accept_async;
use tokio_util::codec::{Framed, LinesCodec};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::BoxError;
use tower_ws_test_kit::conformance::{self, Harness};
#[cfg(feature = "sockudo")]
use tower_ws_transport::sockudo::Sockudo;
use tower_ws_transport::{
    Message, TransportLayer, Tungstenite, WebSocket, WebSocketConnection,
    lines::{LinesConnection, LinesLayer},
};

struct OverTcp<F>(F);

impl<F: AnyFraming> Harness for OverTcp<F> {
    type Message = Message;
    type Connection = Conn<F>;
    type Peer = Far<TcpStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let accept = async {
            let (tcp, _) = listener.accept().await.unwrap();
            WebSocket::from(accept_async(tcp).await.unwrap())
        };
        let (connection, ws) = tokio::join!(dial(TransportLayer::new().framing(self.0.clone()), &url), accept);
        (connection.unwrap(), Far(Some(ws)))
    }
}

#[tokio::test]
async fn websocket_over_tcp() {
    conformance::transport(OverTcp(Tungstenite)).await;
}

#[cfg(feature = "sockudo")]
#[tokio::test]
async fn sockudo_over_tcp() {
    conformance::transport(OverTcp(Sockudo::new())).await;
}

struct OverPipe<F>(F);

impl<F: AnyFraming> Harness for OverPipe<F> {
    type Message = Message;
    type Connection = WebSocketConnection<TokioIo<DuplexStream>, F>;
    type Peer = Far<DuplexStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = Some(TokioIo::new(near));
        let connector = service_fn(move |_| std::future::ready(near.take().ok_or("one only")));
        let layer = TransportLayer::new().framing(self.0.clone());
        let dial = layer.layer(connector).oneshot(get("ws://pipe/"));
        let (connection, ws) = tokio::join!(dial, accept_async(far));
        (connection.unwrap(), Far(Some(ws.unwrap().into())))
    }
}

#[tokio::test(start_paused = true)]
async fn websocket_over_a_pipe() {
    conformance::transport(OverPipe(Tungstenite)).await;
}

#[cfg(feature = "sockudo")]
#[tokio::test(start_paused = true)]
async fn sockudo_over_a_pipe() {
    conformance::transport(OverPipe(Sockudo::new())).await;
}

struct OfLines;

impl Harness for OfLines {
    type Message = String;
    type Connection = LinesConnection<DuplexStream>;
    type Peer = FarLines<DuplexStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = Some(near);
        let pipe = service_fn(move |()| std::future::ready(near.take().ok_or(BoxError::from("one only"))));
        let connection = LinesLayer::new().layer(pipe).oneshot(()).await.unwrap();
        (connection, FarLines(Some(Framed::new(far, LinesCodec::new()))))
    }
}

#[tokio::test(start_paused = true)]
async fn lines() {
    conformance::transport(OfLines).await;
}

#[cfg(unix)]
mod unix {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicU32, Ordering},
    };

    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// A path that nobody else has.
    fn path(of: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "tower-ws-{}-{}.{of}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        std::env::temp_dir().join(unique)
    }

    async fn pair() -> (UnixStream, UnixStream) {
        let path = path("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (near, far) = tokio::join!(UnixStream::connect(&path), listener.accept());
        std::fs::remove_file(&path).unwrap();
        (near.unwrap(), far.unwrap().0)
    }

    struct OverUnixSocket;

    impl Harness for OverUnixSocket {
        type Message = Message;
        type Connection = WebSocketConnection<TokioIo<UnixStream>>;
        type Peer = Far<UnixStream>;

        async fn connect(&self) -> (Self::Connection, Self::Peer) {
            let (near, far) = pair().await;
            let mut near = Some(TokioIo::new(near));
            let connector = service_fn(move |_| std::future::ready(near.take().ok_or("one only")));
            let dial = TransportLayer::new().layer(connector).oneshot(get("ws://localhost/"));
            let (connection, ws) = tokio::join!(dial, accept_async(far));
            (connection.unwrap(), Far(Some(ws.unwrap().into())))
        }
    }

    #[tokio::test]
    async fn websocket_over_a_unix_socket() {
        conformance::transport(OverUnixSocket).await;
    }

    struct LinesOverUnixSocket;

    impl Harness for LinesOverUnixSocket {
        type Message = String;
        type Connection = LinesConnection<UnixStream>;
        type Peer = FarLines<UnixStream>;

        async fn connect(&self) -> (Self::Connection, Self::Peer) {
            let (near, far) = pair().await;
            let mut near = Some(near);
            let dial = service_fn(move |()| std::future::ready(near.take().ok_or(BoxError::from("one only"))));
            let connection = LinesLayer::new().layer(dial).oneshot(()).await.unwrap();
            (connection, FarLines(Some(Framed::new(far, LinesCodec::new()))))
        }
    }

    #[tokio::test]
    async fn lines_over_a_unix_socket() {
        conformance::transport(LinesOverUnixSocket).await;
    }

    #[cfg(feature = "process")]
    mod process {
        use futures_util::{SinkExt, StreamExt};
        use tokio::process::Command;
        use tower_ws_core::{Disposition, Event, FailureKind};
        use tower_ws_transport::process::{Pipes, Process};

        use super::*;

        fn shell(script: String) -> Process {
            Process::new(move || {
                let mut command = Command::new("sh");
                command.arg("-c").arg(&script);
                command
            })
        }

        async fn connect(script: &str) -> LinesConnection<Pipes> {
            let mut connection = LinesLayer::new()
                .max_length(1 << 20)
                .layer(shell(script.to_owned()))
                .oneshot(())
                .await
                .unwrap();
            assert!(matches!(connection.next().await, Some(Event::Up(_))));
            connection
        }

        #[tokio::test]
        async fn a_child_echoes_and_ends_with_its_stdin() {
            let mut connection = connect("cat").await;
            connection.send("hello".to_owned().into()).await.unwrap();
            assert!(matches!(connection.next().await, Some(Event::Message(line)) if line == "hello"));
            connection.close().await.unwrap();
            let Some(Event::Down(down)) = connection.next().await else {
                panic!("it has ended");
            };
            assert_eq!(down.cause.kind(), FailureKind::Local, "{:?}", down.cause);
            assert!(connection.next().await.is_none());
        }

        #[tokio::test]
        async fn how_a_child_ended_is_the_cause() {
            for (script, says) in [
                ("exit 3", "exit status 3"),
                ("kill -9 $$", "killed by a signal"),
                ("exec >&-; sleep 60", "it was killed"),
            ] {
                let mut connection = connect(script).await;
                let Some(Event::Down(down)) = connection.next().await else {
                    panic!("{script}: it has ended");
                };
                assert!(down.cause.to_string().contains(says), "{script}: {}", down.cause);
                assert_eq!(down.cause.disposition(), Disposition::Backoff);
            }
        }

        #[tokio::test]
        async fn a_line_without_end_ends_the_connection() {
            let mut connection =
                connect("while :; do printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'; done")
                    .await;
            let Some(Event::Down(down)) = connection.next().await else {
                panic!("it has ended");
            };
            assert_eq!(down.cause.kind(), FailureKind::Policy);
        }

        #[tokio::test]
        async fn a_program_that_is_not_there_is_final() {
            let nothing = Process::new(|| Command::new("/no/such/program"));
            let failure = LinesLayer::new()
                .layer(nothing)
                .oneshot(())
                .await
                .map(drop)
                .unwrap_err();
            assert_eq!(failure.disposition(), Disposition::Final);
            assert!(failure.to_string().contains("not found"));
        }

        #[tokio::test]
        async fn a_dropped_connection_takes_the_child_along() {
            let file = path("alive");
            let connection = connect(&format!(
                "trap '' TERM; while :; do echo x >>'{}'; sleep 0.05; done",
                file.display()
            ))
            .await;
            let size = || std::fs::metadata(&file).map_or(0, |file| file.len());
            while size() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            drop(connection);
            let mut last = size();
            // It stops writing, sooner or later.
            for _ in 0..200 {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                match size() {
                    same if same == last => return std::fs::remove_file(&file).unwrap(),
                    more => last = more,
                }
            }
            panic!("it lives on");
        }
    }
}
