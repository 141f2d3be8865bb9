//! What is said on each fresh connection before anything else may go.

mod line;

use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::{Instant, timeout};
use tower_ws_core::{
    Dialogue, Disposition, Excerpt, Failure, FailureKind, OpeningContext,
    jsonrpc::{Codec, RpcError},
};

use self::line::{Answer, Line};
use crate::{
    era::{Era, LEGACY_VERSIONS, MODERN_VERSION, code},
    server::{Capabilities, Implementation, Introduction, ServerInfo},
    session::{Expected, Session},
};

/// How long a server may take to say whether it knows `server/discover`. One that ignores what it
/// does not know would use up the time of the whole dialogue.
const DISCOVER: Duration = Duration::from_millis(2500);

/// How long it may then take to answer `initialize` on the same connection, before another one is
/// begun with it: together less than a person waits.
const INITIALIZE: Duration = Duration::from_secs(2);

/// How many requests are repeated before their answers are waited for: enough to hide the round
/// trip, few enough for any pipe.
const AT_ONCE: usize = 16;

/// The dialogue: finds out the era, opens, and repeats what the server has forgotten.
#[derive(Clone, Debug)]
pub(crate) struct McpDialogue<K> {
    codec: K,
    session: Session,
    only: Option<Era>,
    /// Of the legacy ones: what is offered first.
    versions: Versions,
}

/// All that are accepted, the one to be offered first.
type Versions = [&'static str; LEGACY_VERSIONS.len()];

impl<K> McpDialogue<K> {
    pub(crate) fn new(codec: K, session: Session, only: Option<Era>, preferred: Option<&str>) -> Self {
        let mut versions = LEGACY_VERSIONS;
        // Stable: the others stay in their order.
        versions.sort_by_key(|version| Some(*version) != preferred);
        Self {
            codec,
            session,
            only,
            versions,
        }
    }
}

impl<M, K> Dialogue<M> for McpDialogue<K>
where
    M: Send + 'static,
    K: Codec<M> + Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Result<OpeningContext<M>, Failure>>;

    fn open(&self, talk: OpeningContext<M>) -> Self::Future {
        let Self {
            codec,
            session,
            only,
            versions,
        } = self.clone();
        Box::pin(async move {
            let mut line = Line::new(talk, codec, session.ids().clone());
            let introduction = introduce(&mut line, &session, only, &versions).await?;
            let server = remember(&session, introduction);
            tracing::debug!(
                era = server.era().as_str(),
                version = server.protocol_version(),
                changed = server.has_changed(),
                "the server has introduced itself"
            );
            repeat(&mut line, &session, server.era()).await?;
            let mut talk = line.into_talk()?;
            // The client goes on where this dialogue stopped counting.
            talk.up().extensions.insert(session.ids().clone());
            talk.up().extensions.insert(server);
            Ok(talk)
        })
    }
}

/// Finds out what the server speaks, beginning with what it is expected to.
async fn introduce<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    only: Option<Era>,
    versions: &Versions,
) -> Result<Box<Introduction>, Failure> {
    let now = Instant::now();
    let expected = session.lock().expected.and_then(|expected| expected.at(now));
    match (only, expected) {
        // It is what it is: however slow, it has the time of the whole opening.
        (Some(Era::Modern), _) => match discover(line, session, Duration::MAX).await? {
            Discovered::Modern(introduction) => Ok(introduction),
            Discovered::Legacy(versions) => Err(no_common_version(&versions)),
            Discovered::Refused(why) => Err(refused("`server/discover`", why)),
            Discovered::Silent => Err(silent("`server/discover`")),
        },
        (Some(Era::Legacy), _) => initialize(line, session, versions).await?.only(),
        (None, Some(expected)) if expected.era == Era::Legacy => {
            match initialize(line, session, versions).await? {
                Initialized::Yes(introduction) => Ok(introduction),
                // It was replaced by a newer one, or was taken for what it is not.
                other if other.is_modern() || !expected.is_known => discovered(line, session).await,
                other => other.only(),
            }
        }
        (None, _) => first_contact(line, session, versions).await,
    }
}

/// A server of which nothing is known, or that was modern.
async fn first_contact<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    versions: &Versions,
) -> Result<Box<Introduction>, Failure> {
    let versions = match discover(line, session, DISCOVER).await {
        Ok(Discovered::Modern(introduction)) => return Ok(introduction),
        Ok(Discovered::Legacy(theirs)) => {
            let mut common = versions.to_vec();
            common.retain(|version| theirs.iter().any(|one| one == version));
            if common.is_empty() {
                return Err(no_common_version(&theirs));
            }
            common
        }
        Ok(Discovered::Refused(_)) => versions.to_vec(),
        Ok(Discovered::Silent) => {
            // There are servers that answer nothing any more, and some that go on.
            let initialized = timeout(INITIALIZE, initialize(line, session, versions)).await;
            return match initialized {
                Ok(Ok(Initialized::Yes(introduction))) => Ok(introduction),
                // It knew `server/discover`, and was too slow to say so.
                Ok(Ok(other)) if other.is_modern() => discovered(line, session).await,
                Ok(Ok(other)) => other.only(),
                Ok(Err(failure)) => Err(legacy_next(session, failure)),
                Err(_) => Err(legacy_next(session, silent("`server/discover` and `initialize`"))),
            };
        }
        // There are servers that hang up on all but `initialize`.
        Err(failure) => return Err(legacy_next(session, failure)),
    };
    match initialize(line, session, &versions).await? {
        Initialized::Yes(introduction) => Ok(introduction),
        other if other.is_modern() => discovered(line, session).await,
        other => other.only(),
    }
}

/// A server that says that it is modern.
async fn discovered<M, K: Codec<M>>(line: &mut Line<M, K>, session: &Session) -> Result<Box<Introduction>, Failure> {
    match discover(line, session, DISCOVER).await? {
        Discovered::Modern(introduction) => Ok(introduction),
        Discovered::Legacy(versions) => Err(no_common_version(&versions)),
        Discovered::Refused(why) => Err(refused("both `initialize` and `server/discover`", why)),
        Discovered::Silent => Err(silent("`server/discover`")),
    }
}

/// The connection is lost for the opening; the next one begins with `initialize`, and at once.
fn legacy_next(session: &Session, failure: Failure) -> Failure {
    let passing = failure.disposition() == Disposition::Backoff;
    let mut state = session.lock();
    if !passing
        || state
            .expected
            .is_some_and(|expected| expected.is_known && expected.era == Era::Modern)
    {
        return failure;
    }
    state.expected = Some(Expected {
        era: Era::Legacy,
        since: Instant::now(),
        is_known: false,
    });
    drop(state);
    tracing::info!("the server did not take `server/discover`: the next connection begins with `initialize`");
    failure.with_disposition(Disposition::Immediately)
}

enum Discovered {
    Modern(Box<Introduction>),
    /// It knows the question, and speaks only these.
    Legacy(Vec<String>),
    /// It does not know the question.
    Refused(Option<RpcError>),
    /// It says nothing.
    Silent,
}

async fn discover<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    limit: Duration,
) -> Result<Discovered, Failure> {
    match discover_once(line, session, limit).await? {
        // It does not take what it names itself: some servers do so while they start.
        Discovered::Legacy(versions) if versions.iter().any(|version| version == MODERN_VERSION) => {
            discover_once(line, session, limit).await
        }
        discovered => Ok(discovered),
    }
}

async fn discover_once<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    limit: Duration,
) -> Result<Discovered, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discover {
        supported_versions: Vec<String>,
        #[serde(default)]
        capabilities: Capabilities,
        #[serde(default)]
        instructions: Option<String>,
        // Where an earlier draft had it; there are servers that still do.
        #[serde(default)]
        server_info: Option<Implementation>,
        #[serde(default, rename = "_meta")]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    struct Meta {
        #[serde(default, rename = "io.modelcontextprotocol/serverInfo")]
        server: Option<Implementation>,
    }
    let params = format!(r#"{{"_meta":{{{}}}}}"#, session.metadata());
    let id = line.ask("server/discover", Some(&params)).await?;
    let Ok(answer) = timeout(limit, line.answer(id)).await else {
        return Ok(Discovered::Silent);
    };
    match answer? {
        Answer::Result(text) => {
            let Ok(found) = line::result::<Discover>(&text) else {
                return Ok(Discovered::Refused(None));
            };
            if !found.supported_versions.iter().any(|version| version == MODERN_VERSION) {
                return Ok(Discovered::Legacy(found.supported_versions));
            }
            Ok(Discovered::Modern(Box::new(Introduction {
                era: Era::Modern,
                version: MODERN_VERSION.to_owned(),
                implementation: found.meta.server.or(found.server_info),
                capabilities: found.capabilities,
                instructions: found.instructions,
                raw: raw(&text)?,
                changed: false,
                stale: Vec::new(),
            })))
        }
        Answer::Error(error) if error.code == code::UNSUPPORTED_VERSION => Ok(Discovered::Legacy(supported(&error))),
        Answer::Error(error) if matches!(error.code, code::HEADER_MISMATCH | code::MISSING_CAPABILITY) => {
            Err(Failure::new(
                FailureKind::Handshake,
                "the server refused `server/discover`: declare what it asks for",
            )
            .with_disposition(Disposition::Final)
            .with_source(error))
        }
        // Not by one code: -32601, -32602 and others have been seen.
        Answer::Error(error) => Ok(Discovered::Refused(Some(error))),
    }
}

enum Initialized {
    Yes(Box<Introduction>),
    /// It does not take the version; it speaks these.
    Unsupported(Vec<String>),
    Refused(RpcError),
}

impl Initialized {
    /// It speaks nothing that begins with `initialize`.
    fn is_modern(&self) -> bool {
        let is_legacy = |version: &String| LEGACY_VERSIONS.contains(&&**version);
        matches!(self, Self::Unsupported(versions) if !versions.iter().any(is_legacy))
    }

    /// If there is no other way.
    fn only(self) -> Result<Box<Introduction>, Failure> {
        match self {
            Self::Yes(introduction) => Ok(introduction),
            Self::Unsupported(versions) => Err(no_common_version(&versions)),
            Self::Refused(error) => Err(refused("`initialize`", Some(error))),
        }
    }
}

/// Opens a legacy connection. `versions` are those to accept; the first, the newest, is offered, and
/// if the server wants another, that one.
async fn initialize<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    versions: &[&str],
) -> Result<Initialized, Failure> {
    match initialize_once(line, session, versions).await? {
        Initialized::Unsupported(theirs) => {
            let mut common = versions.to_vec();
            common.retain(|version| theirs.iter().any(|one| one == version));
            match common.is_empty() {
                true => Ok(Initialized::Unsupported(theirs)),
                false => initialize_once(line, session, &common).await,
            }
        }
        initialized => Ok(initialized),
    }
}

async fn initialize_once<M, K: Codec<M>>(
    line: &mut Line<M, K>,
    session: &Session,
    versions: &[&str],
) -> Result<Initialized, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialize {
        protocol_version: String,
        #[serde(default)]
        capabilities: Capabilities,
        #[serde(default)]
        server_info: Option<Implementation>,
        #[serde(default)]
        instructions: Option<String>,
    }
    let params = json!({
        "protocolVersion": versions.first(),
        "capabilities": session.capabilities(),
        "clientInfo": session.client(),
    });
    let id = line.ask("initialize", Some(&params.to_string())).await?;
    let text = match line.answer(id).await? {
        Answer::Result(text) => text,
        Answer::Error(error) if error.code == code::UNSUPPORTED_VERSION => {
            return Ok(Initialized::Unsupported(supported(&error)));
        }
        Answer::Error(error) => return Ok(Initialized::Refused(error)),
    };
    let found: Initialize = line::result(&text).map_err(|error| {
        Failure::new(FailureKind::Protocol, "the answer to `initialize` is none").with_source(error)
    })?;
    if !versions.contains(&&*found.protocol_version) {
        return Err(no_common_version(&[found.protocol_version]));
    }
    line.notify("notifications/initialized", None).await?;
    Ok(Initialized::Yes(Box::new(Introduction {
        era: Era::Legacy,
        version: found.protocol_version,
        implementation: found.server_info,
        capabilities: found.capabilities,
        instructions: found.instructions,
        raw: raw(&text)?,
        changed: false,
        stale: Vec::new(),
    })))
}

/// The result as it came.
fn raw(text: &Bytes) -> Result<Box<RawValue>, Failure> {
    line::result(text)
        .map_err(|error| Failure::new(FailureKind::Protocol, "the server's answer is none").with_source(error))
}

/// Keeps how the server introduced itself, and compares it with how it did before.
fn remember(session: &Session, mut introduction: Box<Introduction>) -> ServerInfo {
    let mut state = session.lock();
    introduction.changed = state.server.as_ref().is_some_and(|before| {
        before.era() != introduction.era
            || before.protocol_version() != introduction.version
            || before.implementation() != introduction.implementation.as_ref()
            || *before.capabilities() != introduction.capabilities
    });
    if let Some(before) = &state.server {
        let listed = |kind: &&str| before.capabilities().has(kind) || introduction.capabilities.has(kind);
        introduction.stale = ["tools", "prompts", "resources"].into_iter().filter(listed).collect();
    }
    if introduction.changed {
        tracing::info!(
            era = introduction.era.as_str(),
            "the server is not what it was: its lists are to be asked for anew"
        );
    }
    let server = ServerInfo::new(*introduction);
    state.expected = Some(Expected {
        era: server.era(),
        since: Instant::now(),
        is_known: true,
    });
    state.server = Some(server.clone());
    server
}

/// Tells the server what it has forgotten with the last connection.
async fn repeat<M, K: Codec<M>>(line: &mut Line<M, K>, session: &Session, era: Era) -> Result<(), Failure> {
    match era {
        Era::Modern => {
            let listens = session.lock().replays.modern(|| session.ids().next_id());
            for (id, params) in listens {
                let params = params.as_ref().map(|params| params.get());
                let metadata = session.metadata();
                line.ask_as(id, "subscriptions/listen", params, Some(&metadata)).await?;
            }
        }
        Era::Legacy => {
            let requests = session.lock().replays.legacy();
            for some in requests.chunks(AT_ONCE) {
                let mut ids = Vec::with_capacity(some.len());
                for (method, params) in some {
                    ids.push((*method, line.ask(method, Some(params.get())).await?));
                }
                for (method, id) in ids {
                    if let Answer::Error(error) = line.answer(id).await? {
                        tracing::warn!(method, %error, "the server refused what it had accepted on an earlier connection");
                    }
                }
            }
        }
    }
    Ok(())
}

/// The versions that a refusal names.
fn supported(error: &RpcError) -> Vec<String> {
    #[derive(Deserialize)]
    struct Supported {
        supported: Vec<String>,
    }
    let data = error.data.as_ref().map_or("{}", |data| data.get());
    serde_json::from_str::<Supported>(data).map_or_else(|_| Vec::new(), |data| data.supported)
}

fn no_common_version(theirs: &[String]) -> Failure {
    let theirs = theirs.join(", ");
    let text = format!(
        "no version of mcp in common: the server speaks {}, this side {MODERN_VERSION}, {}",
        Excerpt::new(&theirs),
        LEGACY_VERSIONS.join(", ")
    );
    Failure::new(FailureKind::Handshake, text).with_disposition(Disposition::Final)
}

fn refused(what: &str, why: Option<RpcError>) -> Failure {
    let failure = Failure::new(
        FailureKind::Handshake,
        format!("the server refused {what}: is it an mcp server?"),
    );
    match why {
        Some(error) => failure.with_source(error),
        None => failure,
    }
}

fn silent(what: &str) -> Failure {
    Failure::new(
        FailureKind::Timeout,
        format!("the server did not answer {what}: is it an mcp server?"),
    )
}
