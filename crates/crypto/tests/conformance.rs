//! The laws of a connection, with a peer that encrypts as well.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use futures_util::{SinkExt, StreamExt};
use tower::{Layer, ServiceExt};
use tower_ws_core::OpeningConnection;
use tower_ws_crypto::{CryptoConnection, CryptoLayer, Hello, Key, KeyRing, Opener, Role, Sealer};
use tower_ws_test_kit::conformance::{Harness, Numbering, Peer, Suite};
use tower_ws_transport::memory;

struct Encrypted;

struct FarEnd {
    socket: Option<memory::Socket<Vec<u8>>>,
    sealer: Sealer,
    opener: Opener,
}

impl Harness for Encrypted {
    type Message = Vec<u8>;
    type Connection = CryptoConnection<OpeningConnection<Vec<u8>>>;
    type Peer = FarEnd;

    async fn connect(&self) -> (Self::Connection, FarEnd) {
        let ring = KeyRing::new(3, Key::try_from_slice(&[7; 32]).unwrap());
        let (transport, mut listener) = memory::channel::<Vec<u8>>(64);
        let dial = tokio::spawn(CryptoLayer::new(ring.clone()).layer(transport).oneshot(()));
        let mut socket = listener.accept().await.unwrap();
        let hello = Hello::new(Role::Server).unwrap();
        socket.send(hello.to_bytes()).await.unwrap();
        let theirs = socket.next().await.unwrap().unwrap();
        let (sealer, opener) = hello.meet(&theirs).unwrap().into_pair(ring);
        let peer = FarEnd {
            socket: Some(socket),
            sealer,
            opener,
        };
        (dial.await.unwrap().unwrap(), peer)
    }
}

impl Peer<Vec<u8>> for FarEnd {
    async fn send(&mut self, message: Vec<u8>) {
        let sealed = self.sealer.seal(&message).unwrap();
        if let Some(socket) = &mut self.socket {
            let _ = socket.send(sealed).await;
        }
    }

    async fn recv(&mut self) -> Option<Vec<u8>> {
        let message = self.socket.as_mut()?.next().await.and_then(Result::ok);
        match message {
            Some(sealed) => Some(self.opener.open(sealed).unwrap()),
            None => {
                self.socket = None;
                None
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_connection_keeps_the_laws() {
    let numbering = Numbering {
        make: |n| n.to_be_bytes().to_vec(),
        read: |message: &Vec<u8>| Some(u64::from_be_bytes(message.as_slice().try_into().ok()?)),
    };
    println!("{}", Suite::transport_of(Encrypted, numbering).run().await);
}
