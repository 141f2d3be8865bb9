//! The least that calls over tokio-tungstenite need: about as far as one gets on that crate.
//!
//! One task drives the connection; one short lock holds the queue and the waiting calls; the slot
//! of a call is its id; one flush covers all that is queued. It does not reconnect, ping, time out
//! or forgive a dropped call.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use serde::Deserialize;
use slab::Slab;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "minimal",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

/// On two threads, which share the client.
pub(crate) const THREADS: Kind = KIND.threaded("minimal-threads");

/// The same exchange as a call of an MCP tool, with a typed result.
pub(crate) const MCP: Kind = Kind {
    name: "minimal-mcp",
    threads: 1,
    run: |target, meter| Box::pin(run_mcp(target, meter)),
};

/// Four times that of the echoes: answers outlive the poll that read them, so each read buffer is
/// used once.
const READ_BUFFER: usize = 64 * 1024;
/// Requests are written into blocks of this size, so that a small one costs no allocation.
const BLOCK: usize = 64 * 1024;

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let client = Client::default();
    drive("/rpc", &client, &client, target, meter).await
}

async fn run_mcp(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let client = Client::default();
    drive("/mcp", &client, &Tools(client.clone()), target, meter).await
}

async fn drive<C: Caller>(
    path: &str,
    client: &Client,
    caller: &C,
    target: Target,
    meter: Meter,
) -> Result<Infallible, BoxError> {
    let socket = tuned::connect(&target, path, READ_BUFFER).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(Driver::new(socket, client.clone()));
    calls::spawn(&mut tasks, caller, &target, &meter);
    calls::first_failure(tasks).await
}

// === impl Client ===

#[derive(Clone, Default)]
struct Client(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<Utf8Bytes>,
    block: BytesMut,
    calls: Slab<Slot>,
    driver: Option<Waker>,
}

enum Slot {
    Waiting(Waker),
    /// The whole answer, and where the result starts in it.
    Answered(Utf8Bytes, usize),
}

impl Client {
    /// Gives the answer to its call.
    fn answer(&self, answer: Utf8Bytes) -> Result<(), BoxError> {
        let (id, at) = scan_id(&answer).ok_or("an answer without an id")?;
        let mut state = self.lock();
        let slot = state.calls.get_mut(id).ok_or("an answer to an unknown call")?;
        let Slot::Waiting(caller) = mem::replace(slot, Slot::Answered(answer, at)) else {
            return Err("a second answer to a call".into());
        };
        drop(state);
        caller.wake();
        Ok(())
    }

    /// Swaps the requests for the empty `queue`; if there are none, `driver` is woken by the next
    /// one.
    fn take_queue(&self, queue: &mut VecDeque<Utf8Bytes>, driver: &Waker) -> bool {
        let mut state = self.lock();
        if state.queue.is_empty() {
            state.driver = Some(driver.clone());
            return false;
        }
        mem::swap(queue, &mut state.queue);
        true
    }

    fn ask<'a>(&'a self, head: &'static [u8], text: &'a str, tail: &'static [u8]) -> Call<'a> {
        Call {
            client: self,
            head,
            text,
            tail,
            id: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller for Client {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        let (answer, at) = self.ask(br#""echo","params":["#, text, b"]}").await?;
        Ok(serde_json::from_str(&answer[at..answer.len() - 1])?)
    }
}

/// Calls a tool.
#[derive(Clone)]
struct Tools(Client);

#[derive(Deserialize)]
struct ToolResult {
    content: Vec<Content>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Content {
    Text { text: String },
}

impl Caller for Tools {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        let head = br#""tools/call","params":{"name":"echo","arguments":{"text":"#;
        let (answer, at) = self.0.ask(head, text, b"}}}").await?;
        let mut result: ToolResult = serde_json::from_str(&answer[at..answer.len() - 1])?;
        let Some(Content::Text { text }) = result.content.pop() else {
            return Err("no text".into());
        };
        Ok(text)
    }
}

// === impl Call ===

/// A call whose method and parameters are `text` as JSON between `head` and `tail`.
struct Call<'a> {
    client: &'a Client,
    head: &'static [u8],
    text: &'a str,
    tail: &'static [u8],
    id: Option<usize>,
}

impl Future for Call<'_> {
    /// The answer, and where its result begins.
    type Output = Result<(Utf8Bytes, usize), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.client.lock();
        let Some(id) = self.id else {
            let id = state.calls.insert(Slot::Waiting(cx.waker().clone()));
            let request = self.write(&mut state.block, id)?;
            state.queue.push_back(request);
            let driver = if state.queue.len() == 1 {
                state.driver.take()
            } else {
                None
            };
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
        Poll::Ready(Ok((answer, at)))
    }
}

impl Call<'_> {
    fn write(&self, block: &mut BytesMut, id: usize) -> Result<Utf8Bytes, BoxError> {
        let room = self.head.len() + self.text.len() + 128;
        if block.capacity() < room {
            block.reserve(BLOCK.max(room));
        }
        let mut writer = block.writer();
        writer.write_all(br#"{"jsonrpc":"2.0","id":"#)?;
        serde_json::to_writer(&mut writer, &id)?;
        writer.write_all(br#","method":"#)?;
        writer.write_all(self.head)?;
        serde_json::to_writer(&mut writer, self.text)?;
        writer.write_all(self.tail)?;
        Ok(block.split().freeze().try_into()?)
    }
}

/// The id of an answer with its fields in the usual order, and where its result starts.
pub(crate) fn scan_id(answer: &str) -> Option<(usize, usize)> {
    let rest = answer.strip_prefix(r#"{"jsonrpc":"2.0","id":"#)?;
    let (id, rest) = rest.split_at(rest.bytes().position(|byte| !byte.is_ascii_digit())?);
    let result = rest.strip_prefix(r#","result":"#)?;
    Some((id.parse().ok()?, answer.len() - result.len()))
}

// === impl Driver ===

struct Driver {
    socket: WebSocketStream<TcpStream>,
    client: Client,
    queue: VecDeque<Utf8Bytes>,
    unflushed: bool,
}

impl Driver {
    fn new(socket: WebSocketStream<TcpStream>, client: Client) -> Self {
        Self {
            socket,
            client,
            queue: VecDeque::new(),
            unflushed: false,
        }
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Infallible, BoxError>> {
        loop {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)).ok_or("the connection ended")?? {
                Message::Text(answer) => self.client.answer(answer)?,
                other => {
                    return Poll::Ready(Err(format!("an unexpected message: {other:?}").into()));
                }
            }
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while !self.queue.is_empty() || self.client.take_queue(&mut self.queue, cx.waker()) {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            if let Some(request) = self.queue.pop_front() {
                Pin::new(&mut self.socket).start_send(Message::Text(request))?;
                self.unflushed = true;
            }
        }
        // Also when nothing is new: an earlier flush may not have come to its end.
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Future for Driver {
    type Output = Result<Infallible, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(ended) = self.poll_answers(cx) {
            return Poll::Ready(ended);
        }
        if let Poll::Ready(Err(error)) = self.poll_requests(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}
