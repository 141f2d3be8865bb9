//! A message as a line, or as a frame with its length, and back. No I/O.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tower_ws::{Message, transport::Kind};

use crate::args::Frames;

/// How messages are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framed {
    pub(crate) frames: Frames,
    /// Whether a line, or a frame, is sent as a binary message.
    pub(crate) binary: bool,
}

/// A message as JSON.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Frame {
    Text(String),
    /// In base64.
    Binary(String),
}

impl Framed {
    /// The message that a line is, or what a frame has in it.
    pub(crate) fn read(self, line: Vec<u8>) -> Result<Message, String> {
        match (self.frames, self.binary) {
            (Frames::Lines | Frames::Length, true) => Ok(Message::binary(line)),
            (Frames::Lines | Frames::Length, false) => match String::from_utf8(line) {
                Ok(text) => Ok(Message::text(text)),
                Err(_) => Err("this is no text: --binary sends bytes".to_owned()),
            },
            (Frames::Json, _) => match serde_json::from_slice(&line) {
                Ok(Frame::Text(text)) => Ok(Message::text(text)),
                Ok(Frame::Binary(base64)) => match STANDARD.decode(base64) {
                    Ok(bytes) => Ok(Message::binary(bytes)),
                    Err(error) => Err(format!("that is no base64: {error}")),
                },
                Err(error) => Err(format!(
                    "this is neither {{\"text\": …}} nor {{\"binary\": …}}: {error}"
                )),
            },
        }
    }

    /// What is written of a message, with what ends it; none, if it is not data.
    pub(crate) fn write(self, message: &Message) -> Option<Written> {
        let is_text = match message.kind() {
            Kind::Text => true,
            Kind::Binary => false,
            _ => return None,
        };
        let data = message.as_bytes();
        let (mut bytes, is_whole) = match self.frames {
            Frames::Lines => {
                let line = in_one_line(&String::from_utf8_lossy(data)).into_bytes();
                let is_whole = line == data;
                (line, is_whole)
            }
            Frames::Json => {
                let frame = match is_text {
                    true => Frame::Text(message.as_text().unwrap_or_default().to_owned()),
                    false => Frame::Binary(STANDARD.encode(data)),
                };
                // A string.
                (serde_json::to_vec(&frame).unwrap_or_default(), true)
            }
            Frames::Length => {
                // No message that came in is longer than a number of 32 bits says.
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                return Some(Written {
                    bytes: [&length.to_be_bytes(), data].concat(),
                    is_whole: true,
                });
            }
        };
        bytes.push(b'\n');
        Some(Written { bytes, is_whole })
    }
}

/// What is written of a message.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    /// Whether the message can be had from it as it was.
    pub(crate) is_whole: bool,
}

/// With spaces for line breaks. In JSON they mean the same.
pub(crate) fn in_one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(framed: Framed, message: &Message) -> (Vec<u8>, bool) {
        let mut written = framed.write(message).expect("it is data");
        assert_eq!(written.bytes.pop(), Some(b'\n'));
        (written.bytes, written.is_whole)
    }

    #[test]
    fn a_message_is_one_line_and_comes_back_as_it_was() {
        for text in ["", "plain", r"C:\new\\", "a\\", r#"{"a":"b\n\"c\""}"#] {
            for frames in [Frames::Lines, Frames::Json] {
                for binary in [false, true] {
                    let framed = Framed { frames, binary };
                    let message = match binary {
                        false => Message::text(text),
                        true => Message::binary(text.as_bytes().to_vec()),
                    };
                    let (written, is_whole) = line(framed, &message);
                    assert!(is_whole && !written.contains(&b'\n'), "{written:?}");
                    let read = framed.read(written).expect("it is a frame");
                    assert_eq!(read, message, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_line_is_whole_in_json_and_with_its_length() {
        let framed = |frames| Framed { frames, binary: false };
        let (lines, json, length) = (framed(Frames::Lines), framed(Frames::Json), framed(Frames::Length));
        let message = Message::text("two\nlines");
        assert_eq!(line(lines, &message), (b"two lines".to_vec(), false));
        assert_eq!(json.read(line(json, &message).0).expect("it is a frame"), message);
        let written = length.write(&message).expect("it is data");
        assert_eq!(
            (&written.bytes[..], written.is_whole),
            (&b"\0\0\0\x09two\nlines"[..], true)
        );
        assert_eq!(length.read(written.bytes[4..].to_vec()).expect("it is one"), message);

        let message = Message::binary(vec![0xff, 0, 1]);
        assert!(!line(lines, &message).1);
        assert_eq!(line(json, &message).0, br#"{"binary":"/wAB"}"#);
        assert_eq!(json.read(line(json, &message).0).expect("it is a frame"), message);
        assert!(json.read(b"plain".to_vec()).is_err());
        assert!(lines.read(vec![0xff]).is_err() && length.read(vec![0xff]).is_err());
    }
}
