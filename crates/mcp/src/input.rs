use std::{fmt, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use tower_ws_client::{CallError, Reply, Request};
use tower_ws_core::Excerpt;

use crate::answers::Answers;

/// A modern server's answer that is a question: it needs more before it can do what was asked for.
///
/// There is no session in which it could ask by itself, so the request is made again, with what it
/// wanted to know and with the state that it gave along.
///
/// ```no_run
/// # async fn run(mcp: tower_ws_mcp::Mcp) -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use tower_ws_mcp::{CallToolResult, McpError};
///
/// let booked: CallToolResult = match mcp.call_tool("book", &json!({ "seat": "window" })).await {
///     Err(McpError::InputRequired(input)) => {
///         // What it asks, by its own names: here, to confirm.
///         for (name, question) in input.requests() {
///             println!("{name}: {question}");
///         }
///         let again = input.answer([("confirm", json!({ "action": "accept", "content": { "sure": true } }))])?;
///         mcp.send(again).await?
///     }
///     answered => answered?,
/// };
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct InputRequired {
    request: Request,
    requests: Map<String, Value>,
    state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    result_type: String,
    #[serde(default)]
    input_requests: Map<String, Value>,
    #[serde(default)]
    request_state: Option<Box<RawValue>>,
}

impl InputRequired {
    /// The question that an answer is; `None` if it is a result.
    pub(crate) fn of(request: &Request, reply: &Reply) -> Option<Self> {
        // Nearly every answer has no such word in it.
        static MARK: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(INPUT_REQUIRED));
        let marked = MARK.find(reply.text()).is_some();
        let asked = marked.then(|| reply.result::<Asked>().ok()).flatten()?;
        (asked.result_type == INPUT_REQUIRED).then(|| Self {
            request: request.clone(),
            requests: asked.input_requests,
            state: asked.request_state,
        })
    }

    /// The method of the request that it is about.
    pub fn method(&self) -> &str {
        self.request.method()
    }

    /// What the server asks, by names of its choice: each has a `method` (`elicitation/create`,
    /// `sampling/createMessage`, `roots/list`) and `params`.
    pub fn requests(&self) -> &Map<String, Value> {
        &self.requests
    }

    /// The request to make now, with these answers; `None` if one of the questions has none, or an
    /// error.
    pub(crate) async fn answer_by(&self, answers: &Answers) -> Result<Option<Request>, CallError> {
        let mut given = Vec::with_capacity(self.requests.len());
        for (name, question) in &self.requests {
            let method = question.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = to_raw_value(&question.get("params")).map_err(CallError::Params)?;
            let Some(answering) = answers.answer(method, &params) else {
                return Ok(None);
            };
            match answering.await {
                Ok(answer) => given.push((name.as_str(), answer)),
                Err(error) => {
                    tracing::debug!(%error, method = ?Excerpt::new(method), "a question of the server's was not answered");
                    return Ok(None);
                }
            }
        }
        self.answer(given).map(Some)
    }

    /// The request to make now: as before, with the answers and, to the letter, the server's state.
    /// It gets an id of its own, as each request does.
    ///
    /// # Errors
    ///
    /// [`CallError::Params`] if an answer is no JSON.
    pub fn answer<'a, V: Serialize>(
        &self,
        answers: impl IntoIterator<Item = (&'a str, V)>,
    ) -> Result<Request, CallError> {
        #[derive(Deserialize, Serialize)]
        struct Params {
            #[serde(flatten)]
            params: Map<String, Value>,
        }
        let before = self.request.params_text().unwrap_or(b"{}");
        let Params { mut params } = serde_json::from_slice(before).map_err(CallError::Params)?;
        let mut responses = Map::new();
        for (name, answer) in answers {
            responses.insert(
                name.to_owned(),
                serde_json::to_value(answer).map_err(CallError::Params)?,
            );
        }
        params.insert("inputResponses".to_owned(), responses.into());
        // A string, by the specification; whatever it is, it goes back as it came.
        match &self.state {
            Some(state) => {
                let state = serde_json::from_str(state.get()).map_err(CallError::Params)?;
                params.insert("requestState".to_owned(), state)
            }
            None => params.remove("requestState"),
        };
        self.request.clone().params(&params).map_err(CallError::Params)
    }
}

const INPUT_REQUIRED: &str = "input_required";

impl fmt::Debug for InputRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputRequired")
            .field("request", &self.request)
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}
