use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use tower_ws_core::{
    Failure, FailureKind, OpeningContext,
    jsonrpc::{
        Call, Codec, Decoded, Ids, Kind, Malformed, RpcError, parse_broken, parse_error, parse_result, scan,
        write_answer, write_call,
    },
};

use crate::{batch::taken_apart, meta};

/// A dialogue in JSON-RPC: one question at a time, or several.
pub(super) struct Line<M, K> {
    talk: OpeningContext<M>,
    codec: K,
    ids: Ids,
    /// What is left of a batch.
    unpacked: VecDeque<Bytes>,
}

pub(super) enum Answer {
    /// The whole text; [`result`] reads it.
    Result(Bytes),
    Error(RpcError),
}

impl<M, K: Codec<M>> Line<M, K> {
    pub(super) fn new(talk: OpeningContext<M>, codec: K, ids: Ids) -> Self {
        Self {
            talk,
            codec,
            ids,
            unpacked: VecDeque::new(),
        }
    }

    /// The end of the dialogue. What is left of a batch follows `Up`.
    pub(super) fn into_talk(mut self) -> Result<OpeningContext<M>, Failure> {
        while let Some(message) = self.next_unpacked() {
            self.talk.keep(message)?;
        }
        Ok(self.talk)
    }

    fn next_unpacked(&mut self) -> Option<M> {
        // It is UTF-8, as all JSON that was read is.
        let text = self.unpacked.pop_front()?;
        self.codec.encode(text).ok()
    }

    async fn recv(&mut self) -> Result<M, Failure> {
        loop {
            if let Some(message) = self.next_unpacked() {
                return Ok(message);
            }
            let message = self.talk.recv().await?;
            match taken_apart(&self.codec, &message) {
                Some(texts) => self.unpacked.extend(texts),
                None => return Ok(message),
            }
        }
    }

    /// Asks, and returns the id to wait for.
    pub(super) async fn ask(&mut self, method: &str, params: Option<&str>) -> Result<u64, Failure> {
        let id = self.ids.next_id();
        self.ask_as(id, method, params, None).await?;
        Ok(id)
    }

    /// Asks under a given id, with metadata.
    pub(super) async fn ask_as(
        &mut self,
        id: u64,
        method: &str,
        params: Option<&str>,
        metadata: Option<&str>,
    ) -> Result<(), Failure> {
        let mut text = BytesMut::new();
        write_call(&mut text, Some(id), method, params.map(str::as_bytes));
        let text = text.freeze();
        let stamped = metadata.and_then(|metadata| meta::stamp(&text, metadata));
        self.send(stamped.unwrap_or(text)).await
    }

    pub(super) async fn notify(&mut self, method: &str, params: Option<&str>) -> Result<(), Failure> {
        let mut text = BytesMut::new();
        write_call(&mut text, None, method, params.map(str::as_bytes));
        self.send(text.freeze()).await
    }

    /// Waits for the answer. What the server says besides follows `Up`, but for pings, which are
    /// answered, and answers that nobody waits for.
    pub(super) async fn answer(&mut self, id: u64) -> Result<Answer, Failure> {
        loop {
            let message = self.recv().await?;
            let kind = self.codec.text(&message).map(scan);
            match kind {
                Some(Ok(Kind::Result(answered))) if answered == id => match self.codec.decode(message) {
                    Decoded::Json(text) => return Ok(Answer::Result(text)),
                    _ => return Err(senseless("an answer that is no text")),
                },
                Some(Ok(Kind::Error(answered))) if answered == id => {
                    let text = self.codec.text(&message).unwrap_or_default();
                    return parse_error(text)
                        .map(Answer::Error)
                        .map_err(|error| senseless("an error of another form").with_source(error));
                }
                Some(Ok(Kind::Broken(answered))) if answered == id => {
                    let text = self.codec.text(&message).unwrap_or_default();
                    return Err(senseless("an answer out of form").with_source(parse_broken(text)));
                }
                Some(Ok(Kind::Call)) => match self.ping(&message) {
                    Some(pong) => self.send(pong).await?,
                    None => self.talk.keep(message)?,
                },
                Some(_) => {}
                // Not data, or none of ours: for those above to judge.
                None => self.talk.keep(message)?,
            }
        }
    }

    /// The answer to a ping.
    fn ping(&self, message: &M) -> Option<Bytes> {
        let call = Call::parse(self.codec.text(message)?).ok()?;
        let id = call.id.filter(|_| call.method == "ping")?;
        let mut text = BytesMut::new();
        write_answer(&mut text, id, Ok("{}"));
        Some(text.freeze())
    }

    async fn send(&mut self, text: Bytes) -> Result<(), Failure> {
        let message = self
            .codec
            .encode(text)
            .map_err(|error| Failure::new(FailureKind::Usage, "a request could not be written").with_source(error))?;
        self.talk.send(message).await
    }
}

/// Reads the result of an [`Answer::Result`].
pub(super) fn result<T: DeserializeOwned>(text: &Bytes) -> Result<T, Malformed> {
    parse_result(text)
}

fn senseless(what: &str) -> Failure {
    Failure::new(FailureKind::Protocol, format!("the server sent {what}"))
}
