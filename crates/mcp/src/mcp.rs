use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};
use tower::{Service, ServiceExt};
use tower_ws_client::{CallError, CallFuture, Client, Leftovers, Reply, Request};
use tower_ws_core::Replay;

use crate::{
    call::{Tracked, with_token},
    era::Era,
    error::McpError,
    input::InputRequired,
    pages::Pages,
    server::ServerInfo,
    session::Session,
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
    /// Which tools may be called twice, by annotations that the application trusts.
    trusted: Arc<Mutex<HashMap<String, bool>>>,
}

impl Mcp {
    /// Of a [`Client`] over a stack with an [`McpLayer`](crate::McpLayer), and the session of that
    /// layer.
    pub fn new(client: Client, session: Session) -> Self {
        Self {
            client,
            session,
            trusted: Arc::default(),
        }
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
        let reply = self.client.send(request.clone()).await?;
        match InputRequired::of(&request, &reply) {
            Some(input) => Err(McpError::InputRequired(Box::new(input))),
            None => Ok(reply),
        }
    }

    /// Makes a request, and asks the server to report how far it has come. Resolves when the
    /// request has been accepted.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn track(&self, request: Request) -> Result<Tracked, McpError> {
        let (place, reports) = self.session.reports().open();
        let request = with_token(request, place.token())?;
        let call = self.start(request.clone().timeout(Tracked::MOST)).await?;
        Ok(Tracked::new(call, request, place, reports))
    }

    /// Tells the server something.
    ///
    /// # Errors
    ///
    /// As [`Client::notify`].
    pub async fn notify(&self, request: Request) -> Result<(), McpError> {
        Ok(self.client.notify(request).await?)
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
        let params = json!({ "name": name, "arguments": serde_json::to_value(arguments).map_err(CallError::Params)? });
        let request = Request::new("tools/call").params(&params).map_err(CallError::Params)?;
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match trusted.get(name) {
            Some(true) => request.replay(Replay::Safe),
            _ => request,
        })
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
        let believed = tools
            .into_iter()
            .map(|tool| (tool.name, tool.annotations.may_be_repeated()));
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = believed.collect();
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
        self.in_legacy("resources/subscribe", "subscriptions/listen")?;
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
        self.in_legacy("resources/unsubscribe", "subscriptions/listen")?;
        self.request::<_, Value>("resources/unsubscribe", &json!({ "uri": uri }))
            .await?;
        Ok(())
    }

    /// Asks a modern server to tell of what `filter` names (`toolsListChanged`,
    /// `resourceSubscriptions` and so on), until the future that this resolves to is dropped. It is
    /// asked again on each connection. The notifications come with all others.
    ///
    /// The future resolves when the server ends it, or when the session has ended.
    ///
    /// # Errors
    ///
    /// [`McpError::WrongEra`] for a legacy server, which tells of its lists by itself:
    /// [`subscribe`](Self::subscribe) to resources. Otherwise as [`request`](Self::request).
    pub async fn listen(&self, filter: &Value) -> Result<CallFuture, McpError> {
        if let Some(Era::Legacy) = self.era() {
            return Err(McpError::WrongEra {
                era: Era::Legacy,
                method: "subscriptions/listen",
                instead: "resources/subscribe",
            });
        }
        let request = Request::new("subscriptions/listen").params(&json!({ "notifications": filter }));
        // It has no end of its own.
        self.start(request.map_err(CallError::Params)?.timeout(Duration::MAX))
            .await
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

    /// Asks how an argument could go on.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn complete(&self, reference: &Reference, argument: &str, value: &str) -> Result<Completion, McpError> {
        #[derive(serde::Deserialize)]
        struct Completed {
            completion: Completion,
        }
        let params = json!({ "ref": reference, "argument": { "name": argument, "value": value } });
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
        self.server().map(|server| server.era())
    }

    fn in_legacy(&self, method: &'static str, instead: &'static str) -> Result<(), McpError> {
        match self.era() {
            Some(era @ Era::Modern) => Err(McpError::WrongEra { era, method, instead }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Mcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mcp")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
