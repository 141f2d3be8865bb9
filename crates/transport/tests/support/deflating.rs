//! A server that compresses: sockudo-ws's own server side, without I/O, over a stream.

use std::collections::VecDeque;

use bytes::BytesMut;
use sockudo_ws::{
    deflate::DeflateConfig,
    handshake::{build_response, generate_accept_key, parse_request},
    protocol::{CompressedProtocol, Message as Theirs},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tower_ws_test_kit::conformance::{Peer, Unsupported};
use tower_ws_transport::{Kind, Message};

/// Reads the request and agrees, with this as `sec-websocket-extensions`. Says what was offered.
pub async fn answer_upgrade<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO, extensions: &str) -> Option<String> {
    let mut head = BytesMut::new();
    let (key, offered) = loop {
        assert_ne!(io.read_buf(&mut head).await.unwrap(), 0);
        if let Some((request, _)) = parse_request(&head).unwrap() {
            break (request.key.to_owned(), request.extensions.map(str::to_owned));
        }
    };
    let answer = build_response(&generate_accept_key(&key), None, Some(extensions));
    io.write_all(&answer).await.unwrap();
    offered
}

/// The far end of a compressed WebSocket, until it aborts.
pub struct Deflating<IO> {
    io: Option<IO>,
    protocol: CompressedProtocol,
    input: BytesMut,
    heard: VecDeque<Theirs>,
    said_close: bool,
    heard_close: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Deflating<IO> {
    pub async fn accept(mut io: IO, config: DeflateConfig) -> Self {
        answer_upgrade(&mut io, &config.to_response_header()).await;
        Self {
            io: Some(io),
            protocol: CompressedProtocol::server(16 << 20, 16 << 20, config),
            input: BytesMut::new(),
            heard: VecDeque::new(),
            said_close: false,
            heard_close: false,
        }
    }

    async fn say(&mut self, message: &Theirs) {
        if self.said_close {
            return;
        }
        self.said_close = message.is_close();
        let mut out = BytesMut::new();
        self.protocol.encode_message(message, &mut out).unwrap();
        if let Some(io) = &mut self.io {
            let _ = io.write_all(&out).await;
        }
    }

    async fn hear(&mut self) -> Option<Theirs> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Some(message);
            }
            if self.heard_close || self.io.as_mut()?.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
            self.heard.extend(self.protocol.process(&mut self.input).ok()?);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<Message> for Deflating<IO> {
    async fn send(&mut self, message: Message) {
        let message = match message.kind() {
            Kind::Text => Theirs::text(message.as_text().unwrap()),
            Kind::Binary => Theirs::Binary(message.into_bytes()),
            Kind::Ping => Theirs::Ping(message.into_bytes()),
            Kind::Pong => Theirs::Pong(message.into_bytes()),
            other => panic!("{other:?}"),
        };
        self.say(&message).await;
    }

    async fn recv(&mut self) -> Option<Message> {
        let Some(message) = self.hear().await else {
            // A server ends the connection once the closing handshake is done (RFC 6455, section 7.1.1).
            self.io = None;
            return None;
        };
        Some(match message {
            Theirs::Text(_) => Message::text(message.as_text().unwrap()),
            Theirs::Binary(bytes) => Message::binary(bytes),
            Theirs::Ping(payload) => {
                self.say(&Theirs::Pong(payload.clone())).await;
                Message::ping(payload)
            }
            Theirs::Pong(payload) => Message::pong(payload),
            Theirs::Close(reason) => {
                self.heard_close = true;
                self.say(&Theirs::Close(reason)).await;
                Message::close(1005, "")
            }
        })
    }

    async fn close(&mut self) -> Result<(), Unsupported> {
        self.say(&Theirs::Close(None)).await;
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.io = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}
