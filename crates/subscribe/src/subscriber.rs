use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_ws_core::jsonrpc::{Codec, Malformed, write_call};

use crate::{
    feed::{Heard, Lag},
    handle::Handle,
    subscription::Subscription,
    update::Ended,
};

/// Subscribes over JSON-RPC, and gives what comes in by type. Made by [`Handle::json_rpc`]; cheap
/// to clone where the codec is.
///
/// It needs no client: the layer makes the request, and makes it again. So the answer is seen by no
/// layer above, and a subscription that is asked for in an outage begins when that is over.
///
/// ```
/// # use tower_ws_core::BoxError;
/// # use tower_ws_subscribe::{Handle, Heard};
/// # use tower_ws_transport::{JsonText, Message};
/// #[derive(serde::Deserialize)]
/// struct Head {
///     number: String,
/// }
///
/// # async fn heads(handle: Handle<Message>) -> Result<(), BoxError> {
/// let subscriber = handle.json_rpc(JsonText);
/// let mut heads = subscriber.subscribe::<Head>("eth_subscribe", &["newHeads"], "eth_unsubscribe").await?;
/// while let Some(heard) = heads.next().await {
///     match heard {
///         Heard::Item(head) => println!("{}", head.number),
///         Heard::Update(update) => println!("{update:?}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Subscriber<K, M> {
    handle: Handle<M>,
    codec: K,
    room: usize,
    lag: Lag,
    timeout: Duration,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The parameters are no JSON.
    #[error("the parameters are no JSON")]
    Params(#[source] serde_json::Error),
    /// It ended before it began.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The items of a subscription, by type: a stream that lives across redials, and ends with the
/// reason as its last item. Dropping it takes the subscription back.
#[must_use = "a subscription that is dropped is taken back"]
pub struct Items<T, K, M> {
    subscription: Subscription<M>,
    codec: K,
    of: PhantomData<fn() -> T>,
}

impl<M> Handle<M> {
    /// Subscribes over JSON-RPC, where the layer's dialect is [`JsonRpc`](crate::JsonRpc).
    pub fn json_rpc<K: Codec<M>>(&self, codec: K) -> Subscriber<K, M> {
        Subscriber {
            handle: self.clone(),
            codec,
            room: Self::ROOM,
            lag: Lag::default(),
            timeout: Subscriber::<K, M>::TIMEOUT,
        }
    }
}

impl<K, M> Subscriber<K, M> {
    /// How long to wait for the first answer by default: 60 s, as long as for that of a call.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// How many items of each subscription may wait to be read, at least 1, and what happens when
    /// there are as many. Default 256, and [`Lag::DropOldest`]. They are bounded by size too, at
    /// 16 MiB.
    #[must_use]
    pub fn inbox(mut self, room: usize, lag: Lag) -> Self {
        (self.room, self.lag) = (room, lag);
        self
    }

    /// How long to wait for the first answer, outages included. Default 60 s. What is said again on
    /// a later connection is waited for as long as that lives.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Subscribes by a request of `method`, and takes it back by one of `undo`, whose one parameter
    /// is the id that the server has given. `T` is what `params.result` of its notifications holds.
    ///
    /// # Errors
    ///
    /// What `serde_json` says of parameters that are no JSON; [`Ended::Refused`] with the server's
    /// words, [`Ended::NoRoom`], [`Ended::TimedOut`], or [`Ended::Closed`]. Dropping the future
    /// takes the subscription back.
    pub async fn subscribe<T>(
        &self,
        method: &str,
        params: &(impl Serialize + ?Sized),
        undo: &str,
    ) -> Result<Items<T, K, M>, SubscribeError>
    where
        T: DeserializeOwned,
        K: Codec<M> + Clone,
    {
        let params = serde_json::to_vec(params).map_err(SubscribeError::Params)?;
        let mut text = Vec::new();
        // The layer gives it a number.
        write_call(&mut text, Some(0), method, Some(&params));
        let message = self.codec.encode(text.into()).map_err(|_| Ended::Unsayable)?;
        let mut subscription = self.handle.begin(message, Some(undo.into()), self.room, self.lag);
        subscription.active(self.timeout).await?;
        Ok(Items {
            subscription,
            codec: self.codec.clone(),
            of: PhantomData,
        })
    }
}

impl<T, K, M> Items<T, K, M>
where
    T: DeserializeOwned,
    K: Codec<M>,
{
    /// The next item; `None` after the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard<T>> {
        let heard = self.subscription.next().await?;
        Some(self.typed(heard))
    }

    fn typed(&self, heard: Heard<M>) -> Heard<T> {
        match heard {
            Heard::Item(message) => match item(self.codec.text(&message).unwrap_or_default()) {
                Ok(item) => Heard::Item(item),
                Err(malformed) => Heard::Malformed(Arc::new(malformed)),
            },
            Heard::Update(update) => Heard::Update(update),
            Heard::Skipped(missed) => Heard::Skipped(missed),
            Heard::Malformed(malformed) => Heard::Malformed(malformed),
        }
    }
}

/// What a notification holds.
fn item<T: DeserializeOwned>(text: &[u8]) -> Result<T, Malformed> {
    #[derive(Deserialize)]
    struct Notification<T> {
        params: Params<T>,
    }
    #[derive(Deserialize)]
    struct Params<T> {
        result: T,
    }
    let Notification { params } = serde_json::from_slice(text)?;
    Ok(params.result)
}

impl<T, K, M> Stream for Items<T, K, M>
where
    T: DeserializeOwned,
    K: Codec<M> + Unpin,
{
    type Item = Heard<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Heard<T>>> {
        let heard = ready!(self.subscription.poll_next_unpin(cx));
        Poll::Ready(heard.map(|heard| self.typed(heard)))
    }
}

impl<K, M> fmt::Debug for Subscriber<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("handle", &self.handle)
            .field("room", &self.room)
            .field("lag", &self.lag)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<T, K, M> fmt::Debug for Items<T, K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Items").field(&self.subscription).finish()
    }
}
