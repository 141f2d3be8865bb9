//! Over real WebSockets, and over redials: what a peer and what an attacker on the way see.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt, future::join};
use http::Request;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::accept_async;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_connector::tcp_connector;
use tower_ws_core::{
    BoxConnection, Disposition, DropReason, Event, FailureKind, Outgoing, Pack, Ticket, Verbatim, boxed, find,
};
use tower_ws_crypto::{CryptoError, CryptoLayer, Hello, Key, KeyRing, Opener, Role, Sealer};
use tower_ws_reconnect::{Backoff, ReconnectLayer};
use tower_ws_transport::{Kind, Message, TransportLayer, WebSocket};

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("it hangs")
}

fn ring() -> KeyRing {
    KeyRing::new(1, Key::try_from_slice(&[7; 32]).unwrap())
}

/// The other end of a connection.
struct Peer {
    socket: WebSocket<TcpStream>,
    sealer: Sealer,
    opener: Opener,
}

impl Peer {
    async fn accept(listener: &TcpListener, ring: KeyRing) -> Self {
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut socket = WebSocket::from(within(accept_async(stream)).await.unwrap());
        let hello = Hello::new(Role::Server).unwrap();
        socket.send(Message::binary(hello.to_bytes())).await.unwrap();
        let theirs = within(socket.next()).await.unwrap().unwrap().into_bytes();
        let (sealer, opener) = hello.meet(&theirs).unwrap().into_pair(ring);
        Self { socket, sealer, opener }
    }

    /// From now on it seals as on another connection.
    fn changes_connection(&mut self, ring: KeyRing) {
        let theirs = Hello::new(Role::Client).unwrap().to_bytes();
        let nonces = Hello::new(Role::Server).unwrap().meet(&theirs).unwrap();
        self.sealer = nonces.into_pair(ring).0;
    }

    /// What came in, sealed.
    async fn sealed(&mut self) -> Vec<u8> {
        loop {
            let message = within(self.socket.next()).await.unwrap().unwrap();
            if message.kind() == Kind::Binary {
                return message.into_bytes().into();
            }
        }
    }

    fn seal(&mut self, message: &Message) -> Vec<u8> {
        self.sealer.seal(&Verbatim.pack(message).unwrap()).unwrap()
    }

    async fn send(&mut self, message: Message) {
        let sealed = self.seal(&message);
        within(self.socket.send(Message::binary(sealed))).await.unwrap();
    }
}

async fn start(ring: KeyRing) -> (TcpListener, tokio::task::JoinHandle<BoxConnection<Message>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let connecting = tokio::spawn(async move {
        let eager = Backoff::default()
            .cap(Duration::from_millis(100))
            .first_within(Duration::ZERO);
        let stack = ServiceBuilder::new()
            .layer(
                ReconnectLayer::new()
                    .policy(eager)
                    .min_spacing(Duration::from_millis(10)),
            )
            .layer(CryptoLayer::new(ring))
            .layer(TransportLayer::new())
            .service(tcp_connector());
        boxed(stack.oneshot(Request::get(url).body(()).unwrap()).await.unwrap())
    });
    (listener, connecting)
}

async fn next(session: &mut BoxConnection<Message>) -> Event<Message> {
    within(session.next()).await.expect("the session lives")
}

/// Who writes before anybody has read `Up` is not to write in clear. (Below reconnect nobody can;
/// without it one may.)
#[tokio::test]
async fn the_first_message_is_sealed_before_up_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let stack = ServiceBuilder::new()
        .layer(CryptoLayer::new(ring()))
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let dial = stack.oneshot(Request::get(url).body(()).unwrap());
    let (connection, mut peer) = within(join(dial, Peer::accept(&listener, ring()))).await;
    let mut connection = boxed(connection.unwrap());
    within(connection.send(Message::text("secret").into())).await.unwrap();
    let first = within(peer.socket.next()).await.unwrap().unwrap();
    let opened = peer.opener.open(first.into_bytes().into()).unwrap();
    assert_eq!(Verbatim.unpack(opened.into()), Some(Message::text("secret")));
}

#[tokio::test]
async fn texts_and_bytes_survive_and_nobody_on_the_way_reads_them() {
    let (listener, connecting) = start(ring()).await;
    let mut peer = Peer::accept(&listener, ring()).await;
    let mut session = within(connecting).await.unwrap();
    assert!(matches!(next(&mut session).await, Event::Up(up) if up.layers == ["transport", "crypto", "reconnect"]));
    let large = Message::binary(vec![7; 15 << 20]);
    for message in [Message::text("h\u{e9}llo"), Message::binary(vec![0, 255]), large] {
        let (sent, sealed) = within(join(session.send(message.clone().into()), peer.sealed())).await;
        sent.unwrap();
        let plain = message.clone().into_bytes();
        let some = &plain[..plain.len().min(16)];
        assert!(!sealed.windows(some.len()).take(4096).any(|part| part == some));
        let opened = peer.opener.open(sealed).unwrap();
        assert_eq!(Verbatim.unpack(opened.into()), Some(message.clone()));
        let ((), back) = within(join(peer.send(message.clone()), session.next())).await;
        assert!(matches!(back, Some(Event::Message(back)) if back == message));
    }
    // What is no data passes.
    session.send(Outgoing::new(Message::ping("p")).control()).await.unwrap();
    assert!(matches!(within(peer.socket.next()).await, Some(Ok(message)) if message.kind() == Kind::Ping));
    within(peer.socket.flush()).await.unwrap();
    assert!(matches!(next(&mut session).await, Event::Message(message) if message.kind() == Kind::Pong));
}

#[tokio::test]
async fn what_is_sent_again_is_sealed_anew() {
    let (listener, connecting) = start(ring()).await;
    let mut peer = Peer::accept(&listener, ring()).await;
    let mut session = within(connecting).await.unwrap();
    next(&mut session).await;
    session.send(Message::text("again").into()).await.unwrap();
    let first = peer.sealed().await;
    drop(peer);
    let mut peer = {
        let accepting = Peer::accept(&listener, ring());
        let reading = async { while !matches!(next(&mut session).await, Event::Up(up) if up.epoch == 2) {} };
        within(join(accepting, reading)).await.0
    };
    session.send(Message::text("again").into()).await.unwrap();
    let second = peer.sealed().await;
    assert_ne!(first, second);
    assert!(peer.opener.open(first).is_err(), "what was recorded is worth nothing");
    assert!(peer.opener.open(second).is_ok());
}

#[tokio::test]
async fn what_is_not_the_peers_ends_the_connection_and_not_the_session() {
    type Attack = fn(&mut Peer) -> Message;
    let attacks: [(Attack, fn(&CryptoError) -> bool); 6] = [
        (
            |peer| {
                let mut sealed = peer.seal(&Message::text("pay 10, not 1000"));
                sealed.truncate(sealed.len() - 4);
                Message::binary(sealed)
            },
            |error| matches!(error, CryptoError::NotAuthentic),
        ),
        (
            |peer| {
                let mut sealed = peer.seal(&Message::text("pay 10"));
                sealed[20] ^= 1;
                Message::binary(sealed)
            },
            |error| matches!(error, CryptoError::NotAuthentic),
        ),
        (
            |peer| {
                peer.changes_connection(KeyRing::new(9, Key::try_from_slice(&[1; 32]).unwrap()));
                Message::binary(peer.seal(&Message::text("x")))
            },
            |error| matches!(error, CryptoError::UnknownKey(9)),
        ),
        (
            |_| Message::text("in clear"),
            |error| matches!(error, CryptoError::Plaintext),
        ),
        (
            |_| Message::binary(vec![1, 2, 3]),
            |error| matches!(error, CryptoError::Format),
        ),
        (
            |_| Message::binary(vec![9; 100]),
            |error| matches!(error, CryptoError::Format),
        ),
    ];
    let (listener, connecting) = start(ring()).await;
    let mut peer = Peer::accept(&listener, ring()).await;
    let mut session = within(connecting).await.unwrap();
    next(&mut session).await;
    for (attack, expected) in attacks {
        let message = attack(&mut peer);
        peer.socket.send(message).await.unwrap();
        let Event::Down(down) = next(&mut session).await else {
            panic!("nothing of it goes up");
        };
        assert!(down.will_retry);
        assert_eq!(
            (down.cause.kind(), down.cause.disposition()),
            (FailureKind::Protocol, Disposition::Backoff)
        );
        assert!(
            find::<CryptoError>(&down.cause).is_some_and(expected),
            "{:?}",
            down.cause
        );
        let reading = async { while !matches!(next(&mut session).await, Event::Up(_)) {} };
        peer = within(join(Peer::accept(&listener, ring()), reading)).await.0;
    }
    // A replay.
    peer.send(Message::text("once")).await;
    assert!(matches!(next(&mut session).await, Event::Message(_)));
    peer.changes_connection(ring());
    peer.send(Message::text("from another connection")).await;
    assert!(matches!(next(&mut session).await, Event::Down(_)));
}

#[tokio::test]
async fn what_comes_back_unsent_comes_back_as_it_was() {
    let (listener, connecting) = start(ring()).await;
    let _peer = Peer::accept(&listener, ring()).await;
    let mut session = within(connecting).await.unwrap();
    next(&mut session).await;
    let ticket = Ticket::new();
    let _ = ticket.cancel();
    session
        .send(Outgoing::new(Message::text("secret")).ticket(ticket))
        .await
        .unwrap();
    let Event::Dropped(item, DropReason::Cancelled) = next(&mut session).await else {
        panic!("it is cancelled");
    };
    assert_eq!(item.message, Message::text("secret"));
}

#[tokio::test]
async fn a_peer_that_does_not_encrypt_is_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = WebSocket::from(accept_async(stream).await.unwrap());
        socket.send(Message::text("welcome")).await.unwrap();
        let _ = socket.next().await;
    });
    let stack = ServiceBuilder::new()
        .layer(CryptoLayer::new(ring()))
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let dialled = within(stack.oneshot(Request::get(url).body(()).unwrap()))
        .await
        .map(drop);
    assert_eq!(
        find::<CryptoError>(&*dialled.unwrap_err()),
        Some(&CryptoError::Plaintext)
    );
}
