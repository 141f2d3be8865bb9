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

use crate::{BoxConnection, BoxError, Connection, Event, Failure, FailureKind, Outgoing, Up, boxed, order};

/// Runs a dialogue on each fresh connection before it is handed up, so that *up* means ready and not merely open.
///
/// A login in band, MCP's `initialize`: whatever the peer wants to hear first. Below reconnect it runs again on each
/// connection, before anything that waits above may go.
///
/// ```
/// use tower_ws_core::{ExchangeLayer, Failure, FailureKind, Talk};
///
/// let login = ExchangeLayer::new("login", |mut talk: Talk<String>| async move {
///     talk.send("hello".to_owned()).await?;
///     match talk.recv().await?.as_str() {
///         "welcome" => Ok(talk),
///         _ => Err(Failure::new(FailureKind::Auth, "the server did not welcome us")),
///     }
/// });
/// ```
///
/// A failure, an end or the [deadline](Self::timeout) in the middle fails the dial, classified, and drops the
/// connection. What comes in early and is [kept](Talk::keep) follows `Up`, at most [`Talk::ROOM`] messages.
///
/// Above reconnect or failover it fails with [`WrongOrder`](crate::WrongOrder), for good: there it would run once only, or
/// fail an endpoint that nobody passes over.
///
/// It does not retry: a layer above does. Dropping the future drops the connection.
#[derive(Clone)]
pub struct ExchangeLayer<D> {
    name: &'static str,
    dialogue: Arc<D>,
    timeout: Duration,
}

impl<D> ExchangeLayer<D> {
    /// How long a dialogue may take by default: 10 s, beside the time that the dial may take.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Runs `dialogue` on each fresh connection. `name` is how [`Up`] and the failures call it.
    pub fn new<M>(name: &'static str, dialogue: D) -> Self
    where
        D: Dialogue<M>,
    {
        Self {
            name,
            dialogue: Arc::new(dialogue),
            timeout: Self::TIMEOUT,
        }
    }

    /// Sets how long the dialogue may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<D> fmt::Debug for ExchangeLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeLayer")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S, D> Layer<S> for ExchangeLayer<D> {
    type Service = Exchange<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Exchange {
            inner,
            layer: Self {
                name: self.name,
                dialogue: self.dialogue.clone(),
                timeout: self.timeout,
            },
        }
    }
}

/// What is said on a fresh connection. Functions that take a [`Talk`] and give it back implement it.
pub trait Dialogue<M>: Send + Sync {
    /// The dialogue under way.
    type Future: Future<Output = Result<Talk<M>, Failure>> + Send;

    /// Talks with the peer. An error fails the dial.
    fn open(&self, talk: Talk<M>) -> Self::Future;
}

impl<M, F, Fut> Dialogue<M> for F
where
    F: Fn(Talk<M>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Talk<M>, Failure>> + Send,
{
    type Future = Fut;

    fn open(&self, talk: Talk<M>) -> Fut {
        self(talk)
    }
}

/// One dialogue on one fresh connection.
pub struct Talk<M> {
    connection: BoxConnection<M>,
    up: Up,
    early: VecDeque<Event<M>>,
}

impl<M> Talk<M> {
    /// How many messages may be kept: 256.
    pub const ROOM: usize = 256;

    /// Sends a message and flushes it.
    ///
    /// # Errors
    ///
    /// The cause, if the connection ends first.
    pub async fn send(&mut self, message: impl Into<Outgoing<M>>) -> Result<(), Failure> {
        let mut message = Some(message.into());
        let sent = poll_fn(|cx| {
            std::task::ready!(self.connection.as_mut().poll_ready(cx))?;
            if let Some(message) = message.take() {
                self.connection.as_mut().start_send(message)?;
            }
            self.connection.as_mut().poll_flush(cx)
        })
        .await;
        match sent {
            Ok(()) => Ok(()),
            // The sink only says that it is closed. The stream knows why.
            Err::<(), BoxError>(_) => loop {
                let message = self.recv().await?;
                self.keep(message)?;
            },
        }
    }

    /// Receives the next message.
    ///
    /// # Errors
    ///
    /// The cause, if the connection ends first, or if what was sent was dropped below.
    pub async fn recv(&mut self) -> Result<M, Failure> {
        loop {
            return match self.next().await {
                Some(Event::Message(message)) => Ok(message),
                Some(Event::Down(down)) => Err(down.cause),
                Some(Event::Dropped(_, reason)) => Err(Failure::new(
                    FailureKind::Policy,
                    "a message of the opening dialogue was dropped",
                )
                .with_source(reason)),
                Some(_) => continue,
                None => Err(Failure::new(FailureKind::Network, "the connection ended")),
            };
        }
    }

    /// Keeps a message that is not for this dialogue: it follows `Up`.
    ///
    /// # Errors
    ///
    /// When there are [`ROOM`](Self::ROOM) of them already: a peer that talks so much first never finishes.
    pub fn keep(&mut self, message: M) -> Result<(), Failure> {
        if self.early.len() >= Self::ROOM {
            let text = format!("the peer sent more than {} messages before it answered", Self::ROOM);
            return Err(Failure::new(FailureKind::Policy, text).with_disposition(crate::Disposition::Backoff));
        }
        self.early.push_back(Event::Message(message));
        Ok(())
    }

    /// What will go up when the dialogue succeeds: mark it as resumed, leave in its extensions what was learnt.
    pub fn up(&mut self) -> &mut Up {
        &mut self.up
    }

    async fn next(&mut self) -> Option<Event<M>> {
        poll_fn(|cx| self.connection.as_mut().poll_next(cx)).await
    }
}

impl<M> fmt::Debug for Talk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("up", &self.up).finish_non_exhaustive()
    }
}

/// The service of [`ExchangeLayer`].
#[derive(Clone, Debug)]
pub struct Exchange<S, D> {
    inner: S,
    layer: ExchangeLayer<D>,
}

impl<S, D, T, C> Service<T> for Exchange<S, D>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    D: Dialogue<C::Message> + 'static,
{
    type Response = Exchanged<C::Message>;
    type Error = BoxError;
    type Future = ExchangeFuture<C::Message>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let dial = self.inner.call(target);
        let (name, dialogue, limit) = (self.layer.name, self.layer.dialogue.clone(), self.layer.timeout);
        ExchangeFuture(Box::pin(async move {
            let connection = boxed(dial.await.map_err(Into::into)?);
            let opened = tokio::time::timeout(limit, open(connection, &*dialogue, name)).await;
            Ok(opened.unwrap_or_else(|_| {
                let text = format!("the opening dialogue `{name}` was not done within {limit:?}");
                Err(Failure::new(FailureKind::Timeout, text))
            })?)
        }))
    }
}

async fn open<M, D>(mut connection: BoxConnection<M>, dialogue: &D, name: &'static str) -> Result<Exchanged<M>, Failure>
where
    D: Dialogue<M>,
{
    let up = match poll_fn(|cx| connection.as_mut().poll_next(cx)).await {
        Some(Event::Up(up)) => {
            order::check_exchange(name, &up.layers)?;
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
    let talk = Talk {
        connection,
        up,
        early: VecDeque::new(),
    };
    let Talk {
        connection,
        up,
        mut early,
    } = dialogue.open(talk).await?;
    early.push_front(Event::Up(up));
    Ok(Exchanged { connection, early })
}

/// The future of [`Exchange`]. Boxed: a dialogue with its deadline is an async block, whose type nobody can name; one
/// allocation for each dial.
pub struct ExchangeFuture<M>(BoxFuture<'static, Result<Exchanged<M>, BoxError>>);

impl<M> Future for ExchangeFuture<M> {
    type Output = Result<Exchanged<M>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<M> fmt::Debug for ExchangeFuture<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeFuture")
    }
}

/// The connection of [`Exchange`]: `Up`, what came early, then the connection below.
#[pin_project]
pub struct Exchanged<M> {
    #[pin]
    connection: BoxConnection<M>,
    early: VecDeque<Event<M>>,
}

impl<M> Stream for Exchanged<M> {
    type Item = Event<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        match this.early.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => this.connection.poll_next(cx),
        }
    }
}

impl<M> Sink<Outgoing<M>> for Exchanged<M> {
    type Error = BoxError;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<M>) -> Result<(), BoxError> {
        self.project().connection.start_send(item)
    }

    crate::forward_sink!(polls connection);
}

impl<M> fmt::Debug for Exchanged<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchanged")
    }
}
