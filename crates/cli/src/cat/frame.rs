//! A message as a line, and back. No I/O.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tower_ws::{Message, transport::Kind};

use crate::args::Frames;

/// How messages are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framed {
    pub(crate) frames: Frames,
    /// Whether a line is sent as a binary message.
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
    /// The message that a line is.
    pub(crate) fn read(self, line: Vec<u8>) -> Result<Message, String> {
        match (self.frames, self.binary) {
            (Frames::Lines, true) => Ok(Message::binary(line)),
            (Frames::Lines, false) => match String::from_utf8(line) {
                Ok(text) => Ok(Message::text(text)),
                Err(_) => Err("a line is no text: --binary sends bytes".to_owned()),
            },
            (Frames::Json, _) => match serde_json::from_slice(&line) {
                Ok(Frame::Text(text)) => Ok(Message::text(text)),
                Ok(Frame::Binary(base64)) => match STANDARD.decode(base64) {
                    Ok(bytes) => Ok(Message::binary(bytes)),
                    Err(error) => Err(format!("that is no base64: {error}")),
                },
                Err(error) => Err(format!("a line is {{\"text\": …}} or {{\"binary\": …}}: {error}")),
            },
        }
    }

    /// The line that a message is; none, if it is not data.
    pub(crate) fn write(self, message: &Message) -> Option<Line> {
        let is_text = match message.kind() {
            Kind::Text => true,
            Kind::Binary => false,
            _ => return None,
        };
        Some(match self.frames {
            Frames::Lines => {
                let text = String::from_utf8_lossy(message.as_bytes());
                let line = in_one_line(&text);
                Line {
                    is_whole: line.as_bytes() == message.as_bytes(),
                    line,
                }
            }
            Frames::Json => {
                let frame = match is_text {
                    true => Frame::Text(message.as_text().unwrap_or_default().to_owned()),
                    false => Frame::Binary(STANDARD.encode(message.as_bytes())),
                };
                Line {
                    // Two strings.
                    line: serde_json::to_string(&frame).unwrap_or_default(),
                    is_whole: true,
                }
            }
        })
    }
}

/// A message as a line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) line: String,
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
                    let written = framed.write(&message).expect("it is data");
                    assert!(written.is_whole && !written.line.contains('\n'), "{written:?}");
                    let read = framed.read(written.line.into_bytes()).expect("it is a frame");
                    assert_eq!(read, message, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_line_is_whole_in_json_only() {
        let lines = Framed {
            frames: Frames::Lines,
            binary: false,
        };
        let json = Framed {
            frames: Frames::Json,
            ..lines
        };
        let message = Message::text("two\nlines");
        let line = lines.write(&message).expect("it is data");
        assert_eq!((line.line.as_str(), line.is_whole), ("two lines", false));
        let line = json.write(&message).expect("it is data").line;
        assert_eq!(json.read(line.into_bytes()).expect("it is a frame"), message);

        let message = Message::binary(vec![0xff, 0, 1]);
        assert!(!lines.write(&message).expect("it is data").is_whole);
        let line = json.write(&message).expect("it is data").line;
        assert_eq!(line, r#"{"binary":"/wAB"}"#);
        assert_eq!(json.read(line.into_bytes()).expect("it is a frame"), message);
        assert!(json.read(b"plain".to_vec()).is_err());
        assert!(lines.read(vec![0xff]).is_err());
    }
}
