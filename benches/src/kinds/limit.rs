//! The limit: what calls over a WebSocket cost at least, with framing that does no more than they
//! need.
//!
//! Callers serialise and mask into one shared buffer under a short lock; the slot of a call is its
//! id; one task writes that buffer and reads the answers. It does not reconnect, ping, time out or
//! forgive a dropped call, and takes neither fragments nor control frames.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use slab::Slab;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::kinds::minimal::scan_id;
use crate::meter::Meter;
use crate::server::frame::{self, Frame};
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "limit",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

/// What one read asks for.
const CHUNK: usize = 64 * 1024;

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let stream = tuned::upgraded(&target, "/rpc").await?;
    let client = Client::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(Driver {
        stream,
        client: client.clone(),
        input: BytesMut::new(),
        chunk: vec![0; CHUNK],
        output: Vec::new(),
        written: 0,
    });
    calls::spawn(&mut tasks, &client, &target, &meter);
    calls::first_failure(tasks).await
}

// === impl Client ===

#[derive(Clone, Default)]
struct Client(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Masked frames, as they go out.
    output: Vec<u8>,
    /// Where a request is written before it is masked.
    text: Vec<u8>,
    calls: Slab<Slot>,
    driver: Option<Waker>,
}

enum Slot {
    Waiting(Waker),
    /// The whole answer, and where the result starts in it.
    Answered(Bytes, usize),
}

impl Client {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives the answer to its call; returns whom to wake.
    fn answer(&mut self, answer: Bytes) -> Result<Waker, BoxError> {
        let (id, at) = scan_id(str::from_utf8(&answer)?).ok_or("an answer without an id")?;
        let slot = self.calls.get_mut(id).ok_or("an answer to an unknown call")?;
        match mem::replace(slot, Slot::Answered(answer, at)) {
            Slot::Waiting(caller) => Ok(caller),
            Slot::Answered(..) => Err("a second answer to a call".into()),
        }
    }

    /// Writes a request as a masked frame.
    fn ask(&mut self, id: usize, text: &str) -> Result<(), BoxError> {
        self.text.clear();
        self.text.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        serde_json::to_writer(&mut self.text, &id)?;
        self.text.extend_from_slice(br#","method":"echo","params":["#);
        serde_json::to_writer(&mut self.text, text)?;
        self.text.extend_from_slice(b"]}");
        frame::put_masked(&mut self.output, &self.text, fastrand::u32(..).to_ne_bytes());
        Ok(())
    }
}

impl Caller for Client {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        let call = Call {
            client: self,
            text,
            id: None,
        };
        call.await
    }
}

// === impl Call ===

struct Call<'a> {
    client: &'a Client,
    text: &'a str,
    id: Option<usize>,
}

impl Future for Call<'_> {
    type Output = Result<String, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.client.lock();
        let Some(id) = self.id else {
            let id = state.calls.insert(Slot::Waiting(cx.waker().clone()));
            state.ask(id, self.text)?;
            let driver = state.driver.take();
            drop(state);
            if let Some(driver) = driver {
                driver.wake();
            }
            self.id = Some(id);
            return Poll::Pending;
        };
        match state.calls.get_mut(id).ok_or("the call was answered before")? {
            Slot::Waiting(waker) => {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            Slot::Answered(..) => {}
        }
        let Slot::Answered(answer, at) = state.calls.remove(id) else {
            return Poll::Ready(Err("the call has no answer".into()));
        };
        drop(state);
        Poll::Ready(Ok(serde_json::from_slice(&answer[at..answer.len() - 1])?))
    }
}

// === impl Driver ===

struct Driver {
    stream: TcpStream,
    client: Client,
    input: BytesMut,
    /// What a read fills, once: a buffer that grows would be cleared again and again.
    chunk: Vec<u8>,
    output: Vec<u8>,
    written: usize,
}

impl Driver {
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                let mut state = self.client.lock();
                mem::swap(&mut self.output, &mut state.output);
                if self.output.is_empty() {
                    state.driver = Some(cx.waker().clone());
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(&self.output[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut chunk = ReadBuf::new(&mut self.chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        if chunk.filled().is_empty() {
            return Poll::Ready(Err("the connection ended".into()));
        }
        self.input.extend_from_slice(chunk.filled());
        let mut callers = Vec::new();
        let mut state = self.client.lock();
        while let Some(Frame { payload, .. }) = frame::take(&mut self.input) {
            let mut answer = self.input.split_to(payload.end).freeze();
            answer.advance(payload.start);
            callers.push(state.answer(answer)?);
        }
        drop(state);
        callers.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Future for Driver {
    type Output = Result<Infallible, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let _ = self.poll_write(cx)?;
            ready!(self.poll_read(cx))?;
        }
    }
}
