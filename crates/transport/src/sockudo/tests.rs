//! What one side writes the other reads, whatever is written, however it is cut, with or without
//! compression.

use bytes::BytesMut;
use proptest::prelude::*;
use sockudo_ws::{
    deflate::DeflateConfig,
    protocol::{CompressedProtocol, Message as Theirs, Protocol, Role},
};
use tower_ws_core::Wire;

use super::{Deflate, extension::Agreed, reader::Reader, writer::Writer};
use crate::{
    limits::Limits,
    message::{Kind, Message},
    wire::WebSocketWire,
};

#[derive(Clone, Debug)]
struct Setting {
    compresses: bool,
    forgets: bool,
    threshold: usize,
    level: u32,
    /// The client's.
    window: u8,
}

impl Setting {
    fn ours(&self) -> Option<(Deflate, Agreed)> {
        let deflate = Deflate::new().threshold(self.threshold).level(self.level);
        let agreed = Agreed {
            server_forgets: self.forgets,
            client_forgets: self.forgets,
            client_window: (self.window < 15).then_some(self.window),
        };
        self.compresses.then_some((deflate, agreed))
    }

    fn theirs(&self) -> Server {
        let config = DeflateConfig {
            server_no_context_takeover: self.forgets,
            client_no_context_takeover: self.forgets,
            // With a window of 256 bytes nothing is compressed.
            client_max_window_bits: self.window.max(9).try_into().expect("it is one"),
            compression_threshold: self.threshold,
            ..DeflateConfig::default()
        };
        match self.compresses {
            true => Server::Compressed(CompressedProtocol::server(usize::MAX >> 1, usize::MAX >> 1, config)),
            false => Server::Plain(Protocol::new(Role::Server, usize::MAX >> 1, usize::MAX >> 1)),
        }
    }
}

#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Server {
    Compressed(CompressedProtocol),
    Plain(Protocol),
}

impl Server {
    fn read(&mut self, input: &mut BytesMut) -> Vec<Theirs> {
        match self {
            Self::Compressed(protocol) => protocol.process(input),
            Self::Plain(protocol) => protocol.process(input),
        }
        .expect("what was written is right")
    }

    fn write(&mut self, message: &Theirs, output: &mut BytesMut) {
        match self {
            Self::Compressed(protocol) => protocol.encode_message(message, output),
            Self::Plain(protocol) => protocol.encode_message(message, output),
        }
        .expect("it can be written");
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let bools = (any::<bool>(), any::<bool>());
    (bools, 0..300_usize, 0..=9_u32, 8..=15_u8).prop_map(|((compresses, forgets), threshold, level, window)| Setting {
        compresses,
        forgets,
        threshold,
        level,
        window,
    })
}

/// Some compress well, some not at all; some are cut into pieces.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let text = prop_oneof![
        "[a-c\u{e9}]{0,400}".prop_map(|text| text),
        (0..40_000_usize).prop_map(|len| "abcdefgh\u{e8}".chars().cycle().take(len).collect()),
    ];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), 8_000..20_000),
    ];
    let message = prop_oneof![
        text.prop_map(Message::text),
        bytes.prop_map(Message::binary),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(Message::ping),
    ];
    prop::collection::vec(message, 0..8)
}

fn theirs(message: &Message) -> Theirs {
    let payload = message.clone().into_bytes();
    match message.kind() {
        Kind::Text => Theirs::text(message.as_text().expect("a text")),
        Kind::Binary => Theirs::Binary(payload),
        Kind::Ping => Theirs::Ping(payload),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_server_reads_what_is_written(setting in setting(), messages in messages()) {
        let wire = WebSocketWire::new(&Limits::default().fragment(0));
        let mut writer = Writer::new(setting.ours());
        for message in &messages {
            let mut rest = message.clone();
            while let Some(piece) = wire.split(&mut rest) {
                writer.write(&piece).expect("a piece");
                writer.write(&Message::pong("between")).expect("a pong");
            }
            writer.write(&rest).expect("the last piece");
        }
        let mut read = setting.theirs().read(writer.out());
        read.retain(|message| !matches!(message, Theirs::Pong(_)));
        prop_assert_eq!(read.len(), messages.len());
        for (read, message) in read.iter().zip(&messages) {
            prop_assert_eq!(format!("{read:?}"), format!("{:?}", theirs(message)));
        }
    }

    #[test]
    fn what_a_server_writes_is_read(
        setting in setting(),
        messages in messages(),
        cuts in prop::collection::vec(1..5_000_usize, 1..20),
    ) {
        let (mut server, mut output) = (setting.theirs(), BytesMut::new());
        for message in &messages {
            server.write(&theirs(message), &mut output);
        }
        let mut reader = Reader::new(&Limits::default(), setting.ours().map(|(_, agreed)| agreed));
        let (mut input, mut read) = (BytesMut::new(), Vec::new());
        for cut in cuts.into_iter().cycle() {
            if output.is_empty() {
                break;
            }
            input.extend_from_slice(&output.split_to(cut.min(output.len())));
            while let Some(message) = reader.next(&mut input).expect("what was written is right") {
                read.push(message);
            }
        }
        prop_assert_eq!(read, messages);
    }

    /// No panic, and no message larger than the limit.
    #[test]
    fn anything_can_be_read(setting in setting(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let limits = Limits::default().message_in(1000).frame_in(1000);
        let mut reader = Reader::new(&limits, setting.ours().map(|(_, agreed)| agreed));
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(message)) = reader.next(&mut input) {
            prop_assert!(message.len() <= 1000);
        }
    }
}
