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
    pub(crate) fn read(self, line: &str) -> Result<Message, String> {
        match (self.frames, self.binary) {
            (Frames::Lines, false) => Ok(Message::text(unescaped(line))),
            (Frames::Lines, true) => Ok(Message::binary(unescaped(line).into_bytes())),
            (Frames::Json, _) => match serde_json::from_str(line) {
                Ok(Frame::Text(text)) => Ok(Message::text(text)),
                Ok(Frame::Binary(base64)) => match STANDARD.decode(base64) {
                    Ok(bytes) => Ok(Message::binary(bytes)),
                    Err(error) => Err(format!("that is no base64: {error}")),
                },
                Err(error) => Err(format!("a line is {{\"text\": …}} or {{\"binary\": …}}: {error}")),
            },
        }
    }

    /// The line that a message is; none, if it is not data. Bytes that are no text are lossy in a line.
    pub(crate) fn write(self, message: &Message) -> Option<String> {
        let is_text = match message.kind() {
            Kind::Text => true,
            Kind::Binary => false,
            _ => return None,
        };
        Some(match self.frames {
            Frames::Lines => escaped(&String::from_utf8_lossy(message.as_bytes())),
            Frames::Json => {
                let frame = match is_text {
                    true => Frame::Text(message.as_text().unwrap_or_default().to_owned()),
                    false => Frame::Binary(STANDARD.encode(message.as_bytes())),
                };
                // Two strings.
                serde_json::to_string(&frame).unwrap_or_default()
            }
        })
    }
}

/// In one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.clone().next()) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('r')) => text.push('\r'),
            ('\\', Some('\\')) => text.push('\\'),
            // One that means itself.
            _ => {
                text.push(letter);
                continue;
            }
        }
        letters.next();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_comes_back_as_it_was() {
        for text in ["", "plain", "two\nlines\r\n", r"C:\new\\", "a\\", r#"{"a":"b\n"}"#] {
            for frames in [Frames::Lines, Frames::Json] {
                for binary in [false, true] {
                    let framed = Framed { frames, binary };
                    let message = match binary {
                        false => Message::text(text),
                        true => Message::binary(text.as_bytes().to_vec()),
                    };
                    let line = framed.write(&message).expect("it is data");
                    assert!(!line.contains('\n'), "{line}");
                    assert_eq!(framed.read(&line).expect("it is a frame"), message, "{line}");
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_back_in_json() {
        let framed = Framed {
            frames: Frames::Json,
            binary: false,
        };
        let message = Message::binary(vec![0xff, 0, 1]);
        let line = framed.write(&message).expect("it is data");
        assert_eq!(line, r#"{"binary":"/wAB"}"#);
        assert_eq!(framed.read(&line).expect("it is a frame"), message);
        assert!(framed.read("plain").is_err());
    }
}
