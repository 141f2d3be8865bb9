//! Frames by hand, for those which no well-behaved library writes.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tower_ws_transport::{Kind, Message};

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The header of an unmasked frame (RFC 6455, section 5.2); `first` holds FIN, RSV and the opcode.
pub(super) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..=125), _) => header.push(len),
        (_, Ok(len)) => {
            header.push(126);
            header.extend(len.to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend(len.to_be_bytes());
        }
    }
    header
}

pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    frame(FIN | CLOSE, &payload)
}

/// A message as one frame.
pub(super) fn message(message: &Message) -> Vec<u8> {
    let opcode = match message.kind() {
        Kind::Binary => BINARY,
        Kind::Ping => PING,
        Kind::Pong => PONG,
        Kind::Close => CLOSE,
        _ => TEXT,
    };
    match message.as_close() {
        Some(with_code) if with_code.code != 1005 => close(with_code.code, &with_code.reason),
        _ => frame(FIN | opcode, message.as_bytes()),
    }
}

/// Writes all bytes, and keeps what comes in meanwhile: a peer that answers (a flood of pings with
/// pongs) while nobody reads would block, and both sides with it.
pub(super) async fn blast<S>(io: &mut S, bytes: &[u8], early: &mut Vec<u8>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = split(io);
    let write = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    tokio::pin!(write);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut write => return done,
            read = reader.read_buf(early), if open => open = read? > 0,
        }
    }
}
