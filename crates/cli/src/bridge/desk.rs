//! What the host is told, and when: requests that are under way, what is remembered, what is over. No I/O.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, value::RawValue};
use tokio::time::Instant;
use tower_ws::mcp::relay::Interrupted;

use super::{
    calls::{Call, Calls, Kind},
    memory::{Asked, Recalled},
    message::{self, Message},
};
use crate::args::Start;

/// How long the first answer may take: hosts give up after ten seconds.
const FIRST: Duration = Duration::from_secs(8);

/// How many messages wait for a server that is not there.
const WAITING: usize = 1024;

/// After a session has ended for good, how long until a request may begin another.
const AGAIN: Duration = Duration::from_secs(30);

/// How long the relay may take to say what has become of a call whose time is up.
const WORD: Duration = Duration::from_secs(1);

pub(super) struct Desk {
    start: Start,
    limit: Duration,
    remembered: Option<Recalled>,
    calls: Calls,
    /// To the server, in order.
    waiting: VecDeque<String>,
    steps: VecDeque<Step>,
    state: State,
    /// What the host said first, to say it again.
    introduction: Option<Introduction>,
    /// Why the server does not answer, by the doctor.
    verdict: String,
}

struct Introduction {
    id: Box<RawValue>,
    text: String,
    asked: Asked,
}

#[derive(Debug)]
enum State {
    /// The server has not said who it is.
    Opening,
    /// It has.
    Open,
    /// For good, and why.
    Ended { why: String, since: Instant },
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    /// A line to the host.
    Tell(String),
    /// What the server says of itself, to be kept.
    Remember(Recalled),
    /// A new session, since somebody asks again.
    Reopen,
    /// To the relay: the time of the call with this id is up, which is as long as this.
    TimeIsUp(Box<RawValue>, Duration),
}

impl Desk {
    pub(super) fn new(start: Start, limit: Duration, remembered: Option<Recalled>) -> Self {
        Self {
            start,
            limit,
            remembered,
            calls: Calls::default(),
            waiting: VecDeque::new(),
            steps: VecDeque::new(),
            state: State::Opening,
            introduction: None,
            verdict: String::new(),
        }
    }

    /// The next thing to do, if there is one now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        let call = self.calls.due(now)?;
        self.give_up(call, now);
        self.steps.pop_front()
    }

    /// When to look again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.calls.wakes()
    }

    /// What the server is to be sent next. Before it has said who it is nothing but the introduction is: what has not been
    /// handed over can be taken back.
    pub(super) fn to_server(&self) -> Option<&str> {
        let first = self.waiting.front().map(String::as_str)?;
        let introduces = || Message::parse(first).is_some_and(|message| is_introduction(&message));
        (matches!(self.state, State::Open) || introduces()).then_some(first)
    }

    /// Whether somebody waits for a server that has not said who it is.
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(self.state, State::Opening) && !self.calls.is_empty()
    }

    pub(super) fn on_sent(&mut self) {
        self.waiting.pop_front();
    }

    /// Whether no more should be taken from the host.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.calls.is_empty()
    }

    /// Why the server does not answer, if it is known. Then what is remembered is told at once: some hosts wait for three
    /// seconds.
    pub(super) fn on_verdict(&mut self, why: String) {
        self.verdict = why;
        if self.verdict.is_empty() {
            return;
        }
        for kind in [Kind::Introduction, Kind::Tools] {
            if let Some(result) = self.recalled(kind).map(ToOwned::to_owned) {
                for call in self.calls.end_of(kind) {
                    self.steps.push_back(Step::Tell(message::answer(&call.id, &result)));
                }
            }
        }
    }

    /// What the server said the last time, where that is an answer now.
    fn recalled(&self, kind: Kind) -> Option<&RawValue> {
        let remembered = self.remembered.as_ref()?;
        let asked = self.introduction.as_ref().map(|introduction| &introduction.asked);
        match (kind, self.start) {
            (Kind::Introduction, Start::Remember) if asked == Some(&remembered.asked) => Some(&remembered.introduction),
            (Kind::Tools, Start::Remember) if matches!(self.state, State::Opening) => remembered.tools.as_deref(),
            _ => None,
        }
    }

    /// The host says this.
    pub(super) fn on_host(&mut self, line: &[u8], now: Instant) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let Some((line, message)) = str::from_utf8(line)
            .ok()
            .and_then(|line| Some((line, Message::parse(line)?)))
        else {
            self.on_unreadable();
            return;
        };
        match (message.method.as_deref(), &message.id) {
            (Some(_), Some(_)) if message.has_no_good_id() => {
                let told = message::refused(-32600, "the id of a request is a text or a number");
                self.steps.push_back(Step::Tell(told));
                return;
            }
            (Some(method), Some(id)) => {
                let kind = if is_introduction(&message) {
                    Kind::Introduction
                } else if message.lists_tools() {
                    Kind::Tools
                } else {
                    Kind::Other
                };
                if kind == Kind::Introduction {
                    self.introduction = Some(Introduction {
                        id: id.clone(),
                        text: line.to_owned(),
                        asked: Asked {
                            method: method.to_owned(),
                            revision: message.revision(),
                        },
                    });
                }
                if let State::Ended { why, since } = &self.state {
                    if kind != Kind::Introduction && now.duration_since(*since) < AGAIN {
                        let told = message::unanswered(id, why, Interrupted::NotSent);
                        self.steps.push_back(Step::Tell(told));
                        return;
                    }
                    self.reopen(kind);
                }
                self.begin(id.clone(), kind, message.progress_token(), now);
            }
            (Some("notifications/cancelled"), None) => {
                if let Some(id) = message.cancels() {
                    self.calls.end(id.get());
                    // One that was not handed over is forgotten, and nobody need be told.
                    if self.take_back(id.get()) {
                        return;
                    }
                }
            }
            _ => {}
        }
        match (&self.state, is_introduction(&message)) {
            (State::Ended { .. }, _) => {}
            // What waits for the server to say who it is waits behind it.
            (State::Opening, true) => self.waiting.push_front(line.to_owned()),
            _ => self.waiting.push_back(line.to_owned()),
        }
    }

    /// The host says something that is no message.
    pub(super) fn on_unreadable(&mut self) {
        let told = message::refused(-32700, "this is no JSON-RPC message, in one line and of at most 16 MiB");
        self.steps.push_back(Step::Tell(told));
    }

    /// A request of the host's.
    fn begin(&mut self, id: Box<RawValue>, kind: Kind, progress_token: Option<Value>, now: Instant) {
        let limit = match (kind, self.start) {
            (Kind::Introduction, Start::Wait) => None,
            // It is known that the server is not there.
            (Kind::Tools, _) if self.recalled(kind).is_some() && !self.verdict.is_empty() => Some(Duration::ZERO),
            (Kind::Introduction, _) => Some(FIRST),
            (Kind::Tools, _) if self.recalled(kind).is_some() => Some(FIRST.min(self.limit)),
            _ => Some(self.limit),
        };
        self.calls.begin(Call {
            until: limit.and_then(|limit| now.checked_add(limit)),
            progress_token,
            kind,
            is_over: false,
            id,
        });
    }

    /// A new session, which begins as the last one did.
    fn reopen(&mut self, kind: Kind) {
        self.state = State::Opening;
        self.waiting.clear();
        self.steps.push_back(Step::Reopen);
        if let (Some(introduction), true) = (&self.introduction, kind != Kind::Introduction) {
            self.waiting.push_back(introduction.text.clone());
        }
        self.verdict.clear();
    }

    /// The server says this.
    pub(super) fn on_server(&mut self, text: String, now: Instant) {
        let Some(message) = Message::parse(&text) else { return };
        match (message.method.as_deref(), &message.id) {
            (None, Some(id)) => self.answered(id, &message, text),
            (Some("notifications/progress"), None) => {
                if let Some(token) = message.progress_token() {
                    self.calls.progressed(&token, self.limit, now);
                }
                self.steps.push_back(Step::Tell(text));
            }
            _ => self.steps.push_back(Step::Tell(text)),
        }
    }

    fn answered(&mut self, id: &RawValue, message: &Message, text: String) {
        let call = self.calls.end(id.get());
        let is_introduction = matches!(self.state, State::Opening)
            && self
                .introduction
                .as_ref()
                .is_some_and(|first| first.id.get() == id.get());
        match (&message.result, is_introduction) {
            (Some(result), true) => self.opened(result.clone(), call.is_none()),
            (Some(result), false) if call.as_ref().is_some_and(|call| call.kind == Kind::Tools) => {
                self.learn_tools(result.clone());
            }
            (None, true) => {
                // Why there is no session: its end follows. The server's own errors say something else, as that of a legacy
                // one which is asked to discover itself: the host will initialize then.
                let why = message.error.as_deref().and_then(|error| {
                    let error: Value = serde_json::from_str(error.get()).ok()?;
                    Interrupted::of(error.get("code")?.as_i64()?, error.get("data"))?;
                    Some(error.get("message")?.as_str()?.to_owned())
                });
                self.verdict = why.unwrap_or_default();
            }
            _ => {}
        }
        // Otherwise the host has an answer already, or waits for none.
        if call.is_some() {
            self.steps.push_back(Step::Tell(text));
        }
    }

    /// The server has said who it is; `is_late`: the host was told something else before.
    fn opened(&mut self, result: Box<RawValue>, is_late: bool) {
        self.state = State::Open;
        self.verdict.clear();
        let capabilities = serde_json::from_str::<Value>(result.get()).unwrap_or_default();
        if is_late {
            for list in ["tools", "prompts", "resources"] {
                if capabilities["capabilities"].get(list).is_some() {
                    self.steps.push_back(Step::Tell(message::changed(list)));
                }
            }
        }
        let tools = self.remembered.take().and_then(|remembered| remembered.tools);
        if let Some(introduction) = &self.introduction {
            self.keep(Recalled {
                asked: introduction.asked.clone(),
                introduction: result,
                tools,
            });
        }
    }

    fn learn_tools(&mut self, result: Box<RawValue>) {
        let page: Value = serde_json::from_str(result.get()).unwrap_or_default();
        // One page of several is not the list.
        if page.get("nextCursor").is_none_or(Value::is_null)
            && let Some(remembered) = self.remembered.take()
        {
            self.keep(Recalled {
                tools: Some(result),
                ..remembered
            });
        }
    }

    fn keep(&mut self, recalled: Recalled) {
        self.remembered = Some(recalled.clone());
        self.steps.push_back(Step::Remember(recalled));
    }

    /// The session has ended for good.
    pub(super) fn on_end(&mut self, now: Instant) {
        let why = match self.verdict.is_empty() {
            true => "the session with the server has ended for good".to_owned(),
            false => self.verdict.clone(),
        };
        for call in self.calls.end_all() {
            let told = message::unanswered(&call.id, &why, Interrupted::NotSent);
            self.steps.push_back(Step::Tell(told));
        }
        self.waiting.clear();
        self.state = State::Ended { why, since: now };
    }

    /// Whether it waited still to be sent; then it is not any more.
    fn take_back(&mut self, id: &str) -> bool {
        let waited = self.waiting.len();
        self.waiting
            .retain(|line| Message::parse(line).is_none_or(|message| message.id.is_none_or(|other| other.get() != id)));
        self.waiting.len() < waited
    }

    /// Its time is up.
    fn give_up(&mut self, call: Call, now: Instant) {
        if let Some(result) = self.recalled(call.kind) {
            self.steps.push_back(Step::Tell(message::answer(&call.id, result)));
            return;
        }
        // The introduction opens the session, whoever waits for it still.
        let is_unsent = call.kind != Kind::Introduction && self.take_back(call.id.get());
        let told = match &self.state {
            // The relay knows whether it was sent, and answers as the server would.
            State::Open if !is_unsent && !call.is_over => {
                self.steps.push_back(Step::TimeIsUp(call.id.clone(), self.limit));
                self.calls.begin(Call {
                    until: now.checked_add(WORD),
                    is_over: true,
                    ..call
                });
                return;
            }
            State::Open if !is_unsent => {
                let why = format!(
                    "no answer within {:?}, and it may have been sent: outcome unknown",
                    self.limit
                );
                message::unanswered(&call.id, &why, Interrupted::OutcomeUnknown)
            }
            _ => {
                let why = match self.verdict.is_empty() {
                    true => "the server is not there yet".to_owned(),
                    false => format!("the server is not there: {}", self.verdict),
                };
                message::unanswered(&call.id, &why, Interrupted::NotSent)
            }
        };
        self.steps.push_back(Step::Tell(told));
    }
}

/// Whether it asks the server who it is.
fn is_introduction(message: &Message) -> bool {
    message.id.is_some() && matches!(message.method.as_deref(), Some("initialize" | "server/discover"))
}

#[cfg(test)]
mod tests;
