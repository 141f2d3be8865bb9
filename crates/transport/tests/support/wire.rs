//! The wire of a compressed WebSocket, from the server's side.

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tower_ws_transport::{
    TransportLayer,
    sockudo::{Deflate, Sockudo},
};

use super::{Conn, connected_with, deflating::answer_upgrade};

pub fn offering(deflate: Deflate) -> TransportLayer<Sockudo> {
    TransportLayer::new().framing(Sockudo::new().deflate(deflate))
}

pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// A connection, and the bare stream of a server that agreed.
pub async fn agreed(layer: TransportLayer<Sockudo>, extensions: &str) -> (Conn<Sockudo>, TcpStream) {
    let (listener, url) = listen().await;
    let accept = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        answer_upgrade(&mut tcp, extensions).await;
        tcp
    };
    let ((connection, _), tcp) = tokio::join!(connected_with(layer, &url), accept);
    (connection, tcp)
}

/// One frame as it was on the wire, unmasked.
#[derive(Debug)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }

    pub fn is_compressed(&self) -> bool {
        self.first & 0x40 != 0
    }

    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }
}

pub async fn read_frame(tcp: &mut TcpStream) -> Frame {
    let (first, second) = (tcp.read_u8().await.unwrap(), tcp.read_u8().await.unwrap());
    let len = match second & 0x7f {
        126 => usize::from(tcp.read_u16().await.unwrap()),
        127 => usize::try_from(tcp.read_u64().await.unwrap()).unwrap(),
        len => usize::from(len),
    };
    let mut mask = [0; 4];
    tcp.read_exact(&mut mask).await.unwrap();
    let mut payload = vec![0; len];
    tcp.read_exact(&mut payload).await.unwrap();
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Frame { first, payload }
}

/// A server's frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 127];
    frame.extend((payload.len() as u64).to_be_bytes());
    frame.extend(payload);
    match payload.len() {
        len @ 0..126 => frame.splice(1..10, [len as u8]).for_each(drop),
        len @ 126..0x1_0000 => frame.splice(1..10, [126, (len >> 8) as u8, len as u8]).for_each(drop),
        _ => {}
    }
    frame
}

pub fn code_of(frame: &Frame) -> u16 {
    assert_eq!(frame.opcode(), 8, "{frame:?}");
    u16::from_be_bytes([frame.payload[0], frame.payload[1]])
}
