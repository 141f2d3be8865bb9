use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{Stream, future::BoxFuture};
use futures_sink::Sink;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::context::OpeningContext;
use crate::{
    failure::{BoxError, Failure, FailureKind},
    layer::{BoxConnection, Closed, Connection, boxed, check_opening},
    message::{Event, Length, Measure, Outgoing, Up},
};

/// Runs a dialogue on each fresh connection before it is handed up, so that *up* means ready and
/// not merely open.
///
/// A login in band, MCP's `initialize`: whatever the peer wants to hear first. Below reconnect it
/// runs again on each connection, before anything that waits above may go.
///
/// ```
/// use std::time::Duration;
///
/// use tower_ws_core::{OpeningLayer, Failure, FailureKind, OpeningContext};
///
/// let login = OpeningLayer::new("login", |mut talk: OpeningContext<String>| async move {
///     talk.send("hello".to_owned()).await?;
///     match talk.recv().await?.as_str() {
///         "welcome" => Ok(talk),
///         _ => Err(Failure::new(FailureKind::Auth, "the server did not welcome us")),
///     }
/// });
/// // Configured: less patience.
/// let login = login.timeout(Duration::from_secs(2));
/// ```
///
/// A failure, an end or the [deadline](Self::timeout) in the middle fails the dial, classified, and
/// drops the connection. What comes in early and is [kept](OpeningContext::keep) follows `Up`, at
/// most [`OpeningContext::ROOM`] messages and [`OpeningContext::BYTES`], as the
/// [measure](Self::measure) has it.
///
/// Above reconnect or failover it fails with [`WrongOrder`](crate::WrongOrder), for good: there it
/// would run once only, or fail an endpoint that nobody passes over.
///
/// It does not retry: a layer above does. Dropping the future drops the connection.
#[derive(Clone)]
pub struct OpeningLayer<D, Me = Length> {
    name: &'static str,
    dialogue: Arc<D>,
    timeout: Duration,
    measure: Me,
}

impl<D> OpeningLayer<D> {
    /// How long a dialogue may take by default: 10 s, beside the time that the dial may take.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Runs `dialogue`, a [`Dialogue`], on each fresh connection. `name` is how [`Up`](crate::Up)
    /// and the failures call it.
    pub fn new(name: &'static str, dialogue: D) -> Self {
        Self {
            name,
            dialogue: Arc::new(dialogue),
            timeout: Self::TIMEOUT,
            measure: Length,
        }
    }
}

impl<D, Me> OpeningLayer<D, Me> {
    /// Sets how the size of what comes in early is measured. Default: [`Length`].
    #[must_use]
    pub fn measure<N>(self, measure: N) -> OpeningLayer<D, N> {
        OpeningLayer {
            name: self.name,
            dialogue: self.dialogue,
            timeout: self.timeout,
            measure,
        }
    }

    /// Sets how long the dialogue may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<D, Me> fmt::Debug for OpeningLayer<D, Me> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpeningLayer")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S, D, Me: Clone> Layer<S> for OpeningLayer<D, Me> {
    type Service = Opening<S, D, Me>;

    fn layer(&self, inner: S) -> Self::Service {
        Opening {
            inner,
            layer: Self {
                name: self.name,
                dialogue: self.dialogue.clone(),
                timeout: self.timeout,
                measure: self.measure.clone(),
            },
        }
    }
}

/// What is said on a fresh connection. Functions that take an [`OpeningContext`] and give it back
/// implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no dialogue over messages of type `{M}`",
    label = "no dialogue",
    note = "an async closure from `OpeningContext<M>` to `Result<OpeningContext<M>, Failure>` will do"
)]
pub trait Dialogue<M>: Send + Sync {
    /// The dialogue under way.
    type Future: Future<Output = Result<OpeningContext<M>, Failure>> + Send;

    /// Talks with the peer. An error fails the dial.
    fn open(&self, talk: OpeningContext<M>) -> Self::Future;
}

#[diagnostic::do_not_recommend]
impl<M, F, Fut> Dialogue<M> for F
where
    F: Fn(OpeningContext<M>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<OpeningContext<M>, Failure>> + Send,
{
    type Future = Fut;

    fn open(&self, talk: OpeningContext<M>) -> Fut {
        self(talk)
    }
}

/// The service of [`OpeningLayer`].
#[derive(Clone, Debug)]
pub struct Opening<S, D, Me = Length> {
    inner: S,
    layer: OpeningLayer<D, Me>,
}

impl<S, D, Me, T, C> Service<T> for Opening<S, D, Me>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    D: Dialogue<C::Message> + 'static,
    Me: Measure<C::Message> + Clone + Send + 'static,
{
    type Response = OpeningConnection<C::Message>;
    type Error = BoxError;
    type Future = OpeningFuture<C::Message>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let dial = self.inner.call(target);
        let (name, dialogue, limit) = (self.layer.name, self.layer.dialogue.clone(), self.layer.timeout);
        let measure = Box::new(self.layer.measure.clone());
        OpeningFuture(Box::pin(async move {
            let connection = boxed(dial.await.map_err(Into::into)?);
            let opened = tokio::time::timeout(limit, open(connection, measure, &*dialogue, name)).await;
            Ok(opened.unwrap_or_else(|_| {
                let text = format!("the opening dialogue `{name}` was not done within {limit:?}");
                Err(Failure::new(FailureKind::Timeout, text))
            })?)
        }))
    }
}

async fn open<M, D>(
    mut connection: BoxConnection<M>,
    measure: Box<dyn Measure<M> + Send>,
    dialogue: &D,
    name: &'static str,
) -> Result<OpeningConnection<M>, Failure>
where
    D: Dialogue<M>,
{
    let up = match poll_fn(|cx| connection.as_mut().poll_next(cx)).await {
        Some(Event::Up(up)) => {
            check_opening(name, &up.layers)?;
            up.through(name)
        }
        Some(Event::Down(down)) => return Err(down.cause),
        _ => {
            return Err(Failure::new(
                FailureKind::Local,
                "the connection below did not come up first",
            ));
        }
    };
    let talk = OpeningContext::new(connection, up, measure);
    let (connection, up, mut early) = dialogue.open(talk).await?.into_parts();
    early.push_front(Event::Up(up));
    Ok(OpeningConnection { connection, early })
}

/// The future of [`Opening`]. Boxed: a dialogue with its deadline is an async block, whose type
/// nobody can name; one allocation for each dial.
#[must_use = "futures do nothing unless polled"]
pub struct OpeningFuture<M>(BoxFuture<'static, Result<OpeningConnection<M>, BoxError>>);

impl<M> Future for OpeningFuture<M> {
    type Output = Result<OpeningConnection<M>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<M> fmt::Debug for OpeningFuture<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningFuture")
    }
}

/// The connection of [`Opening`]: `Up`, what came early, then the connection below.
#[pin_project]
pub struct OpeningConnection<M> {
    #[pin]
    connection: BoxConnection<M>,
    early: VecDeque<Event<M>>,
}

impl<M> OpeningConnection<M> {
    /// What is to go up first, until it has been read: for a layer that has to know of it before
    /// anybody reads.
    pub fn up_mut(&mut self) -> Option<&mut Up> {
        match self.early.front_mut() {
            Some(Event::Up(up)) => Some(up),
            _ => None,
        }
    }
}

impl<M> Stream for OpeningConnection<M> {
    type Item = Event<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        match this.early.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => this.connection.poll_next(cx),
        }
    }
}

impl<M> Sink<Outgoing<M>> for OpeningConnection<M> {
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<M>) -> Result<(), Closed> {
        self.project().connection.start_send(item)
    }

    crate::forward_sink!(polls connection);
}

impl<M> fmt::Debug for OpeningConnection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningConnection")
    }
}
