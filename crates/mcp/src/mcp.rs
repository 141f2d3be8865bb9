use std::{collections::HashMap, fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tower_ws_client::{CallError, CallFuture, Client, Leftovers, Reply, Request};

use crate::{
    answers::Answers,
    call::Tracked,
    era::Era,
    error::McpError,
    input::InputRequired,
    listen::{Backlog, Filter, Listen},
    meta::with_meta,
    pages::Pages,
    progress::token,
    replay::Replays,
    server::ServerInfo,
    session::Session,
    trust::Trust,
    types::{
        CallToolResult, Completion, GetPromptResult, Listed, Page, Prompt, ReadResourceResult, Reference, Resource,
        ResourceTemplate, Skipped, Tool,
    },
};

/// A client of an MCP server: the common methods by name, everything else by
/// [`request`](Self::request). Clones share the session.
///
/// Dropping the future of a call takes the call back if it was not sent; if it was, the server is
/// told that nobody waits any more, and a late answer is ignored. So it is when its time is up: 60
/// s, unless the [client layer](crate::client_layer) or the [`Request`] says otherwise.
#[derive(Clone)]
pub struct Mcp {
    client: Client,
    session: Session,
    trust: Trust,
    answers: Answers,
}

impl Mcp {
    /// How many questions in a row are answered before a request is answered: 10. A server that asks
    /// for ever is no reason to answer for ever.
    pub const QUESTIONS: usize = 10;

    /// Of a [`Client`] over a stack with an [`McpLayer`](crate::McpLayer), and the session of that
    /// layer.
    pub fn new(client: Client, session: Session) -> Self {
        Self {
            client,
            session,
            trust: Trust::default(),
            answers: Answers::new(),
        }
    }

    /// Answers the questions of modern servers by these answers, and makes the request again, up to
    /// [10 times](Self::QUESTIONS). A question that they have no answer for, or answer with an error,
    /// comes as [`McpError::InputRequired`], as all do without them. Each request has its own time
    /// limit; an answer has none but its own: a person may be asked.
    ///
    /// It does not declare that they are there: [`Answers::capabilities`] go to
    /// [`McpLayer::pair`](crate::McpLayer::pair). Nor does it answer legacy servers:
    /// [`Inbound::answer_with`](tower_ws_client::Inbound::answer_with) does.
    #[must_use]
    pub fn answering(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// What the server said of itself when the last connection opened.
    pub fn server(&self) -> Option<ServerInfo> {
        self.session.server()
    }

    /// The client beneath: a `tower::Service` that stock layers fit on.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the session in order; see [`Client::close`].
    pub async fn close(&self, grace: Duration) -> Leftovers {
        self.client.close(grace).await
    }

    // --- any method

    /// Calls a method by name.
    ///
    /// # Errors
    ///
    /// [`McpError`]; its [`may_have_been_seen`](McpError::may_have_been_seen) says whether trying
    /// again is safe.
    pub async fn request<P, R>(&self, method: &'static str, params: &P) -> Result<R, McpError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.send(Request::new(method).params(params).map_err(CallError::Params)?)
            .await
    }

    /// Makes a request, such as one that [answers](InputRequired::answer) a server's question.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn send<R: DeserializeOwned>(&self, request: Request) -> Result<R, McpError> {
        Ok(self.reply(request).await?.result()?)
    }

    /// Makes a request and gives its answer as it came.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn reply(&self, request: Request) -> Result<Reply, McpError> {
        let mut request = request;
        let mut answered = 0;
        loop {
            let reply = self.client.send(&request).await?;
            let Some(input) = InputRequired::of(&request, &reply) else {
                return Ok(reply);
            };
            request = match input.answer_by(&self.answers).await? {
                Some(again) if answered < Self::QUESTIONS => again,
                _ => return Err(McpError::InputRequired(Box::new(input))),
            };
            answered += 1;
        }
    }

    /// Makes a request, and asks the server to report how far it has come. Resolves when the
    /// request has been accepted. Questions are not [answered](Self::answering): they are the error.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn track(&self, request: Request) -> Result<Tracked, McpError> {
        let (place, reports) = self.session.reports().open();
        let request = with_meta(request, "progressToken", place.token())?;
        let call = self.start(request.clone().timeout(Tracked::MOST)).await?;
        Ok(Tracked::new(call, request, place, reports))
    }

    /// Tells the server something. `notifications/roots/list_changed` is not said to a modern one,
    /// which asks for roots when it wants them.
    ///
    /// # Errors
    ///
    /// As [`Client::notify`].
    pub async fn notify(&self, request: Request) -> Result<(), McpError> {
        if self.era() == Some(Era::Modern) && request.method() == ROOTS_CHANGED {
            return Ok(());
        }
        Ok(self.client.notify(request).await?)
    }

    /// How long the server takes to answer when there is nothing to do: by `ping`, or by
    /// `server/discover` if it is a modern one, which has no ping. It tells whether the server works,
    /// and not only what stands before it.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn ping(&self) -> Result<Duration, McpError> {
        let method = match self.era() {
            Some(Era::Legacy) => "ping",
            _ => "server/discover",
        };
        let asked = Instant::now();
        self.client.send(Request::new(method)).await?;
        Ok(asked.elapsed())
    }

    async fn start(&self, request: Request) -> Result<CallFuture, McpError> {
        let mut client = self.client.clone();
        Ok(client.ready().await?.call(request))
    }

    // --- tools

    /// All tools, asked for page by page.
    pub fn tools(&self) -> Pages<Tool> {
        Pages::new(self.clone())
    }

    /// Calls a tool. Arguments are an object.
    ///
    /// Unless the tool's annotations are [trusted](Self::trust_annotations), a call that was sent
    /// and not answered when the connection was lost is not sent again: its outcome is unknown, and
    /// the error says so.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request). That the *tool* failed is no error:
    /// [`CallToolResult::is_error`] says it.
    pub async fn call_tool<A: Serialize + ?Sized>(
        &self,
        name: &str,
        arguments: &A,
    ) -> Result<CallToolResult, McpError> {
        self.send(self.tool_request(name, arguments)?).await
    }

    /// The request that [`call_tool`](Self::call_tool) makes, to be [tracked](Self::track), given a
    /// time limit, or declared safe to repeat.
    ///
    /// # Errors
    ///
    /// [`CallError::Params`] if the arguments are no JSON.
    pub fn tool_request<A: Serialize + ?Sized>(&self, name: &str, arguments: &A) -> Result<Request, McpError> {
        #[derive(Serialize)]
        struct Params<'a, A: ?Sized> {
            name: &'a str,
            arguments: &'a A,
        }
        let params = Params { name, arguments };
        let request = Request::new("tools/call").params(&params).map_err(CallError::Params)?;
        Ok(request.replay(self.trust.replay(name)))
    }

    /// Asks for all tools, and believes what the server says of their effects: a tool that only
    /// reads, or that may be called twice, is called again after a lost connection. To be called
    /// again when the server's list has changed.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); then what was believed before still is.
    pub async fn trust_annotations(&self) -> Result<(), McpError> {
        let tools = self.tools().all().await?;
        self.trust.clear();
        self.trust.believe(tools);
        Ok(())
    }

    // --- resources

    /// All resources, asked for page by page.
    pub fn resources(&self) -> Pages<Resource> {
        Pages::new(self.clone())
    }

    /// All patterns of resources, asked for page by page.
    pub fn resource_templates(&self) -> Pages<ResourceTemplate> {
        Pages::new(self.clone())
    }

    /// Reads a resource.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, McpError> {
        self.request("resources/read", &json!({ "uri": uri })).await
    }

    /// Asks a legacy server to tell when a resource changes. It is asked again on each connection.
    ///
    /// # Errors
    ///
    /// [`McpError::WrongEra`] for a modern server: [`listen`](Self::listen) to it. Otherwise as
    /// [`request`](Self::request).
    pub async fn subscribe(&self, uri: &str) -> Result<(), McpError> {
        self.in_legacy("resources/subscribe", LISTEN)?;
        self.request::<_, Value>("resources/subscribe", &json!({ "uri": uri }))
            .await?;
        Ok(())
    }

    /// Takes back a [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn unsubscribe(&self, uri: &str) -> Result<(), McpError> {
        self.in_legacy("resources/unsubscribe", LISTEN)?;
        self.request::<_, Value>("resources/unsubscribe", &json!({ "uri": uri }))
            .await?;
        Ok(())
    }

    /// Asks a modern server to tell of what `filter` names, until what this gives is dropped. It is
    /// asked again on each connection. What it tells under this listen comes there only, and not with
    /// all others.
    ///
    /// ```no_run
    /// # async fn run(mcp: tower_ws_mcp::Mcp) -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_ws_mcp::{Filter, Listened};
    ///
    /// let mut listen = mcp.listen(&Filter::new().tools().resource("mem://x")).await?;
    /// while let Some(heard) = listen.next().await {
    ///     match heard {
    ///         Listened::Active(_) => println!("look at all of it: what changed before, nobody was told"),
    ///         Listened::Notification(told) => println!("{}", told.method()),
    ///         Listened::Ended(why) => println!("{why:?}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`McpError::WrongEra`] for a legacy server, which tells of its lists by itself:
    /// [`subscribe`](Self::subscribe) to resources. [`McpError::Listens`] if there are 64. Otherwise as
    /// [`request`](Self::request).
    pub async fn listen(&self, filter: &Filter) -> Result<Listen, McpError> {
        if let Some(Era::Legacy) = self.era() {
            return Err(McpError::WrongEra {
                era: Era::Legacy,
                method: LISTEN,
                instead: "resources/subscribe",
            });
        }
        let (token, backlog) = (token(), Backlog::default());
        let params = json!({ "notifications": filter, "_meta": { "progressToken": token } });
        let request = Request::new(LISTEN).params(&params).map_err(CallError::Params)?;
        let mut client = self.client.clone();
        let client = client.ready().await?;
        if !self.session.lock().replays.expect(token.clone(), backlog.clone()) {
            return Err(McpError::Listens(Replays::LISTENS));
        }
        // It has no end of its own.
        let call = client.call(request.timeout(Duration::MAX));
        Ok(Listen::new(call, backlog, self.session.clone(), token))
    }

    // --- prompts and completion

    /// All prompts, asked for page by page.
    pub fn prompts(&self) -> Pages<Prompt> {
        Pages::new(self.clone())
    }

    /// Asks for a prompt with its arguments, an object of strings, filled in.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn get_prompt<A: Serialize + ?Sized>(
        &self,
        name: &str,
        arguments: &A,
    ) -> Result<GetPromptResult, McpError> {
        let arguments = serde_json::to_value(arguments).map_err(CallError::Params)?;
        self.request("prompts/get", &json!({ "name": name, "arguments": arguments }))
            .await
    }

    /// Asks how an argument could go on, which begins with `value`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn complete(&self, reference: &Reference, argument: &str, value: &str) -> Result<Completion, McpError> {
        self.complete_given(reference, argument, value, []).await
    }

    /// The same, given the `arguments` that are settled already, by name: what they are can decide
    /// what this one may be.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn complete_given<'a>(
        &self,
        reference: &Reference,
        argument: &str,
        value: &str,
        arguments: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Completion, McpError> {
        #[derive(serde::Deserialize)]
        struct Completed {
            completion: Completion,
        }
        let mut params = json!({ "ref": reference, "argument": { "name": argument, "value": value } });
        let settled: HashMap<_, _> = arguments.into_iter().collect();
        if !settled.is_empty() {
            params["context"] = json!({ "arguments": settled });
        }
        let completed: Completed = self.request("completion/complete", &params).await?;
        Ok(completed.completion)
    }

    // --- logging

    /// From which level on the server is to send its log messages: `debug`, `info`, `notice`,
    /// `warning`, `error`, `critical`, `alert`, `emergency`. A legacy server is told now and on
    /// each connection, a modern one with each request.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn set_log_level(&self, level: &str) -> Result<(), McpError> {
        self.session.set_level(level);
        if let Some(Era::Legacy) = self.era() {
            self.request::<_, Value>("logging/setLevel", &json!({ "level": level }))
                .await?;
        }
        Ok(())
    }

    // --- pages

    /// One page of a list: the first, or that which begins at a cursor.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn page<T: Listed + DeserializeOwned>(&self, cursor: Option<&str>) -> Result<Page<T>, McpError> {
        let params = cursor.map_or_else(Map::new, |cursor| {
            Map::from_iter([("cursor".to_owned(), cursor.into())])
        });
        // Raw first: schemas stay so.
        let page: HashMap<String, Box<RawValue>> = self.request(T::METHOD, &params).await?;
        let member = |name| page.get(name).map_or("null", |raw| raw.get());
        let malformed = |error: serde_json::Error| CallError::Malformed(error.into());
        let listed: Vec<Box<RawValue>> = serde_json::from_str(member(T::MEMBER)).map_err(malformed)?;
        let mut page = Page {
            items: Vec::with_capacity(listed.len()),
            skipped: Vec::new(),
            next_cursor: serde_json::from_str(member("nextCursor")).map_err(malformed)?,
        };
        for (index, item) in listed.iter().enumerate() {
            match serde_json::from_str(item.get()) {
                Ok(item) => page.items.push(item),
                Err(error) => page.skipped.push(Skipped::new(index, item, &error)),
            }
        }
        if let Some(first) = page.skipped.first() {
            let (items, index, field) = (page.skipped.len(), first.index, first.field.as_deref());
            tracing::warn!(
                method = T::METHOD,
                items,
                index,
                field,
                "items of a list could not be read and were left out"
            );
        }
        Ok(page)
    }

    fn era(&self) -> Option<Era> {
        self.session.era()
    }

    fn in_legacy(&self, method: &'static str, instead: &'static str) -> Result<(), McpError> {
        match self.era() {
            Some(era @ Era::Modern) => Err(McpError::WrongEra { era, method, instead }),
            _ => Ok(()),
        }
    }
}

const LISTEN: &str = "subscriptions/listen";

/// That the roots have changed: for legacy servers only.
pub(crate) const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

impl fmt::Debug for Mcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mcp")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
