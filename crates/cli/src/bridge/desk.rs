//! What the host is told, and when: requests that are under way, what is remembered, what is over. No I/O.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Value, value::RawValue};
use tokio::time::Instant;
use tower_ws::mcp::relay::Interrupted;

use super::{
    memory::Recalled,
    message::{self, Message},
};
use crate::args::Start;

/// How long the first answer may take: hosts give up after ten seconds.
const FIRST: Duration = Duration::from_secs(8);

/// How many messages wait for a server that is not there.
const WAITING: usize = 1024;

/// After a session has ended for good, how long until a request may begin another.
const AGAIN: Duration = Duration::from_secs(30);

pub(super) struct Desk {
    start: Start,
    limit: Duration,
    remembered: Option<Recalled>,
    /// By their ids, as they are written.
    under_way: BTreeMap<String, UnderWay>,
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

struct UnderWay {
    id: Box<RawValue>,
    until: Option<Instant>,
    progress_token: Option<Value>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Initialize,
    Tools,
    Other,
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
}

impl Desk {
    pub(super) fn new(start: Start, limit: Duration, remembered: Option<Recalled>) -> Self {
        Self {
            start,
            limit,
            remembered,
            under_way: BTreeMap::new(),
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
        let due = self
            .under_way
            .iter()
            .find(|(_, call)| call.until.is_some_and(|until| until <= now));
        let key = due?.0.clone();
        let call = self.under_way.remove(&key)?;
        self.give_up(&call);
        self.steps.pop_front()
    }

    /// When to look again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.under_way.values().filter_map(|call| call.until).min()
    }

    /// What the server is to be sent next.
    pub(super) fn to_server(&self) -> Option<&str> {
        self.waiting.front().map(String::as_str)
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
        self.steps.is_empty() && self.under_way.is_empty()
    }

    pub(super) fn on_verdict(&mut self, why: String) {
        self.verdict = why;
    }

    /// The host says this.
    pub(super) fn on_host(&mut self, line: &str, now: Instant) {
        if line.trim().is_empty() {
            return;
        }
        let Some(message) = Message::parse(line) else {
            self.steps.push_back(Step::Tell(message::unreadable()));
            return;
        };
        match (message.method.as_deref(), &message.id) {
            (Some(method), Some(id)) => {
                let kind = match method {
                    "initialize" => Kind::Initialize,
                    _ if message.lists_tools() => Kind::Tools,
                    _ => Kind::Other,
                };
                if kind == Kind::Initialize {
                    self.introduction = Some(Introduction {
                        id: id.clone(),
                        text: line.to_owned(),
                    });
                }
                if let State::Ended { why, since } = &self.state {
                    if kind != Kind::Initialize && now.duration_since(*since) < AGAIN {
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
                    self.under_way.remove(id.get());
                }
            }
            _ => {}
        }
        if !matches!(self.state, State::Ended { .. }) {
            self.waiting.push_back(line.to_owned());
        }
    }

    /// A request of the host's.
    fn begin(&mut self, id: Box<RawValue>, kind: Kind, progress_token: Option<Value>, now: Instant) {
        let has_tools = self
            .remembered
            .as_ref()
            .is_some_and(|remembered| remembered.tools.is_some());
        let limit = match (kind, &self.state, self.start) {
            (Kind::Initialize, _, Start::Wait) => None,
            (Kind::Initialize, ..) => Some(FIRST),
            (Kind::Tools, State::Opening, Start::Remember) if has_tools => Some(FIRST.min(self.limit)),
            _ => Some(self.limit),
        };
        let call = UnderWay {
            until: limit.and_then(|limit| now.checked_add(limit)),
            progress_token,
            kind,
            id,
        };
        self.under_way.insert(call.id.get().to_owned(), call);
    }

    /// A new session, which begins as the last one did.
    fn reopen(&mut self, kind: Kind) {
        self.state = State::Opening;
        self.waiting.clear();
        self.steps.push_back(Step::Reopen);
        if let (Some(introduction), true) = (&self.introduction, kind != Kind::Initialize) {
            self.waiting.push_back(introduction.text.clone());
        }
    }

    /// The server says this.
    pub(super) fn on_server(&mut self, text: String, now: Instant) {
        let Some(message) = Message::parse(&text) else { return };
        match (message.method.as_deref(), &message.id) {
            (None, Some(id)) => self.answered(id, &message, text),
            (Some("notifications/progress"), None) => {
                let token = message.progress_token();
                for call in self.under_way.values_mut() {
                    if token.is_some() && call.progress_token == token {
                        call.until = now.checked_add(self.limit);
                    }
                }
                self.steps.push_back(Step::Tell(text));
            }
            _ => self.steps.push_back(Step::Tell(text)),
        }
    }

    fn answered(&mut self, id: &RawValue, message: &Message, text: String) {
        let call = self.under_way.remove(id.get());
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
                // Why there is no session: its end follows.
                let why = message.error.as_deref().and_then(|error| {
                    let error: Value = serde_json::from_str(error.get()).ok()?;
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
        let capabilities = serde_json::from_str::<Value>(result.get()).unwrap_or_default();
        if is_late {
            for list in ["tools", "prompts", "resources"] {
                if capabilities["capabilities"].get(list).is_some() {
                    self.steps.push_back(Step::Tell(message::changed(list)));
                }
            }
        }
        let tools = self.remembered.take().and_then(|remembered| remembered.tools);
        self.keep(Recalled {
            introduction: result,
            tools,
        });
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
        for call in std::mem::take(&mut self.under_way).into_values() {
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
    fn give_up(&mut self, call: &UnderWay) {
        let remembered = match (call.kind, self.start, &self.remembered) {
            (Kind::Initialize, Start::Remember, Some(remembered)) => Some(&remembered.introduction),
            (Kind::Tools, Start::Remember, Some(remembered)) if matches!(self.state, State::Opening) => {
                remembered.tools.as_ref()
            }
            _ => None,
        };
        if let Some(result) = remembered {
            self.steps.push_back(Step::Tell(message::answer(&call.id, result)));
            return;
        }
        // The introduction opens the session, whoever waits for it still.
        let is_unsent = call.kind != Kind::Initialize && self.take_back(call.id.get());
        let told = match &self.state {
            State::Open if !is_unsent => {
                self.waiting.push_back(message::cancelled(&call.id));
                let why = format!("sent, and no answer within {:?}: outcome unknown", self.limit);
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
