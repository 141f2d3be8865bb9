//! What each stock layer of tower means in each of the two planes. The table is in the docs of
//! `tower_ws::stock`; each of its cells names a test here.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    future::{Future, Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::{LoadShedLayer, error::Overloaded},
    retry::{Policy, RetryLayer},
    service_fn,
    timeout::{TimeoutLayer, error::Elapsed},
};
use tower_ws::{
    CallError, Client, Request,
    client::ClientLayer,
    core::{BoxConnection, Connection, Event, boxed, find},
    reconnect::{Backoff, ReconnectLayer},
    transport::{
        JsonText,
        memory::{self, Listener, Memory, Socket},
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// The clock is paused, so a bound costs nothing.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(3600 * SECOND, future).await.expect("it hangs")
}

async fn accept(listener: &mut Listener<String>) -> Socket<String> {
    within(listener.accept()).await.expect("somebody dials")
}

/// When the dials began.
#[derive(Clone, Default)]
struct Dials(Arc<Mutex<Vec<Instant>>>);

impl Dials {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// A service that dials and counts.
    fn through(
        &self,
        memory: Memory<String>,
    ) -> impl Service<(), Response = impl Connection<Message = String> + Send + use<>, Error = BoxError, Future: Send>
    + Clone
    + use<> {
        let dials = self.clone();
        service_fn(move |()| {
            dials.0.lock().unwrap().push(Instant::now());
            memory
                .clone()
                .oneshot(())
                .map(|dialled| dialled.map_err(BoxError::from))
        })
    }
}

fn often() -> ReconnectLayer {
    let soon = Backoff::default()
        .base(SECOND / 100)
        .cap(SECOND / 100)
        .first_within(SECOND / 100);
    ReconnectLayer::new().policy(soon).min_spacing(SECOND / 100)
}

async fn up<C: Connection + Unpin>(session: &mut C) -> u64 {
    loop {
        if let Some(Event::Up(up)) = within(session.next()).await {
            return up.epoch;
        }
    }
}

mod connections {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timeout_below_reconnect_bounds_each_dial() {
        let (memory, mut listener) = memory::channel::<String>(8);
        let mut hang = true;
        let dial = service_fn(move |()| {
            let (memory, hangs) = (memory.clone(), std::mem::take(&mut hang));
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                memory.oneshot(()).await
            }
        });
        // Reconnect dials clones: what they share is not the counter above, so one dialler is
        // shared by a buffer.
        let dial = ServiceBuilder::new().layer(BufferLayer::new(8)).service(dial);
        let stack = ServiceBuilder::new()
            .layer(often())
            .layer(TimeoutLayer::new(SECOND))
            .service(dial);
        let began = Instant::now();
        let (session, _socket) = tokio::join!(within(stack.oneshot(())), accept(&mut listener));
        assert_eq!(up(&mut Box::pin(session.unwrap())).await, 1);
        assert!(
            began.elapsed() >= SECOND && began.elapsed() < 2 * SECOND,
            "the second dial came up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_above_reconnect_bounds_the_whole_first_connect() {
        let dial = service_fn(|()| ready(Err::<BoxConnection<String>, BoxError>("nobody is there".into())));
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(10 * SECOND))
            .layer(often())
            .service(dial);
        let error = within(stack.oneshot(())).await.map(drop).unwrap_err();
        assert!(find::<Elapsed>(&*error).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn concurrency_limit_counts_dials_in_progress_and_not_open_connections() {
        let (memory, mut listener) = memory::channel::<String>(8);
        let limited = ConcurrencyLimitLayer::new(1).layer(Dials::default().through(memory));
        let first = tokio::spawn(limited.clone().oneshot(()));
        let second = tokio::spawn(limited.oneshot(()));
        tokio::time::sleep(SECOND).await;
        let _one = accept(&mut listener).await;
        let mut first = Box::pin(within(first).await.unwrap().unwrap());
        up(&mut first).await;
        // The first is open, and the second dials all the same.
        let _two = accept(&mut listener).await;
        up(&mut Box::pin(within(second).await.unwrap().unwrap())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn load_shed_refuses_a_dial_that_would_have_to_wait() {
        let (memory, mut listener) = memory::channel::<String>(8);
        let stack = ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(1))
            .service(Dials::default().through(memory));
        let mut first = stack.clone();
        let dialling = tokio::spawn(async move { first.ready().await.unwrap().call(()).await.map(boxed) });
        tokio::task::yield_now().await;
        let error = within(stack.oneshot(())).await.map(drop).unwrap_err();
        assert!(error.is::<Overloaded>());
        let _socket = accept(&mut listener).await;
        within(dialling).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn rate_limit_spaces_the_redials_of_one_session() {
        let (memory, mut listener) = memory::channel::<String>(8);
        let dials = Dials::default();
        let dial = ServiceBuilder::new()
            // Its state is not shared by clones, and reconnect needs clones: a buffer is.
            .layer(BufferLayer::new(8))
            .layer(RateLimitLayer::new(1, 10 * SECOND))
            .service(dials.through(memory));
        let stack = often().layer(dial);
        let (session, socket) = tokio::join!(within(stack.oneshot(())), accept(&mut listener));
        let mut session = Box::pin(session.unwrap());
        up(&mut session).await;
        drop(socket);
        let (epoch, _socket) = tokio::join!(up(&mut session), accept(&mut listener));
        assert_eq!(epoch, 2);
        let dials = dials.0.lock().unwrap().clone();
        assert!(dials[1] - dials[0] >= 10 * SECOND);
    }

    /// Three times.
    #[derive(Clone)]
    struct Thrice(u8);

    impl<T: Clone, C> Policy<T, C, BoxError> for Thrice {
        type Future = Ready<()>;

        fn retry(&mut self, _: &mut T, result: &mut Result<C, BoxError>) -> Option<Ready<()>> {
            self.0 += 1;
            (result.is_err() && self.0 < 3).then(|| ready(()))
        }

        fn clone_request(&mut self, target: &T) -> Option<T> {
            Some(target.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_dials_again_at_once_and_only_for_the_first_connection() {
        let dials = Dials::default();
        let counted = dials.clone();
        let dial = service_fn(move |()| {
            counted.0.lock().unwrap().push(Instant::now());
            ready(Err::<BoxConnection<String>, BoxError>("nobody is there".into()))
        });
        let error = within(RetryLayer::new(Thrice(0)).layer(dial).oneshot(()))
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.to_string(), "nobody is there");
        let dials = dials.0.lock().unwrap().clone();
        assert!(
            dials.len() == 3 && dials[0] == dials[2],
            "without a pause: reconnect is what backs off"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn buffer_makes_a_clone_of_what_has_none() {
        struct NoClone(Memory<String>);
        impl Service<()> for NoClone {
            type Response = <Memory<String> as Service<()>>::Response;
            type Error = BoxError;
            type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, BoxError>>;

            fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, (): ()) -> Self::Future {
                let memory = self.0.clone();
                Box::pin(async move { Ok(memory.oneshot(()).await?) })
            }
        }
        let (memory, mut listener) = memory::channel::<String>(8);
        // Reconnect wants a clone.
        let stack = often().layer(BufferLayer::new(8).layer(NoClone(memory)));
        let (session, socket) = tokio::join!(within(stack.oneshot(())), accept(&mut listener));
        let mut session = Box::pin(session.unwrap());
        up(&mut session).await;
        drop(socket);
        let (epoch, _socket) = tokio::join!(up(&mut session), accept(&mut listener));
        assert_eq!(epoch, 2);
    }
}

mod calls {
    use super::*;

    /// A client, and a server that answers each call after so long, with its parameters.
    async fn echo(after: Duration) -> (Client, Dials) {
        let (memory, mut listener) = memory::channel::<String>(8);
        let calls = Dials::default();
        let seen = calls.clone();
        tokio::spawn(async move {
            let mut socket = listener.accept().await.unwrap();
            while let Some(Ok(text)) = socket.next().await {
                let asked: Value = serde_json::from_str(&text).unwrap();
                seen.0.lock().unwrap().push(Instant::now());
                tokio::time::sleep(after).await;
                let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
                let _ = socket.send(answer.to_string()).await;
            }
        });
        let (client, _inbound) = within(ClientLayer::new(JsonText).layer(memory).oneshot(()))
            .await
            .unwrap();
        (client, calls)
    }

    fn request(n: u8) -> Request {
        Request::new("call").params(&n).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_gives_up_a_call_as_dropping_it_does() {
        let (client, calls) = echo(60 * SECOND).await;
        let hasty = TimeoutLayer::new(SECOND).layer(client);
        let error = within(hasty.oneshot(request(1))).await.unwrap_err();
        // It does not say whether the request was sent: the client's own time limit does.
        assert!(error.is::<Elapsed>() && find::<CallError>(&*error).is_none());
        assert_eq!(calls.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrency_limit_bounds_the_calls_under_way() {
        let (client, calls) = echo(SECOND).await;
        let limited = ConcurrencyLimitLayer::new(1).layer(client);
        let all = (0..3).map(|n| limited.clone().oneshot(request(n)));
        let all = tokio::spawn(futures_util::future::join_all(all));
        tokio::time::sleep(SECOND / 2).await;
        assert_eq!(calls.count(), 1, "the others are not even sent");
        assert!(within(all).await.unwrap().iter().all(Result::is_ok));
        assert_eq!(calls.count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn load_shed_refuses_a_call_that_would_have_to_wait() {
        let (client, calls) = echo(SECOND).await;
        let stack = ServiceBuilder::new().load_shed().concurrency_limit(1).service(client);
        let (first, second) = tokio::join!(
            within(stack.clone().oneshot(request(1))),
            stack.clone().oneshot(request(2))
        );
        assert!(first.is_ok() && second.unwrap_err().is::<Overloaded>());
        assert_eq!(calls.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn rate_limit_spaces_the_calls_of_one_handle() {
        let (client, calls) = echo(Duration::ZERO).await;
        let mut limited = RateLimitLayer::new(1, 10 * SECOND).layer(client);
        for n in 0..2 {
            within(limited.ready().await.unwrap().call(request(n))).await.unwrap();
        }
        let calls = calls.0.lock().unwrap().clone();
        assert!(calls[1] - calls[0] >= 10 * SECOND);
    }

    /// Tries again what the server cannot have seen, and nothing else.
    #[derive(Clone)]
    struct WhenUnseen;

    impl<R> Policy<Request, R, CallError> for WhenUnseen {
        type Future = Ready<()>;

        fn retry(&mut self, _: &mut Request, result: &mut Result<R, CallError>) -> Option<Ready<()>> {
            let again = matches!(result, Err(error @ CallError::TimedOut { .. }) if !error.may_have_been_seen());
            again.then(|| ready(()))
        }

        fn clone_request(&mut self, request: &Request) -> Option<Request> {
            Some(request.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_makes_a_new_call_of_what_was_not_sent() {
        let (memory, mut listener) = memory::channel::<String>(8);
        let stack = ServiceBuilder::new()
            .layer(ClientLayer::new(JsonText))
            .layer(often())
            .service(memory);
        let (made, socket) = tokio::join!(within(stack.oneshot(())), accept(&mut listener));
        let (client, _inbound) = made.unwrap();
        drop(socket);
        tokio::time::sleep(SECOND).await;
        // Waits for a connection, gives up unsent, and is made again; once it was sent it is not.
        let retried = tokio::spawn(
            RetryLayer::new(WhenUnseen)
                .layer(client)
                .oneshot(request(7).timeout(10 * SECOND)),
        );
        tokio::time::sleep(25 * SECOND).await;
        let mut socket = accept(&mut listener).await;
        let said = within(socket.next()).await.unwrap().unwrap();
        assert!(said.contains("\"params\":7"));
        let error = within(retried).await.unwrap().unwrap_err();
        assert!(error.may_have_been_seen());
        assert!(within(socket.next()).await.is_none(), "it was sent once");
    }

    #[tokio::test(start_paused = true)]
    async fn buffer_is_a_second_queue_before_the_clients_own() {
        let (client, calls) = echo(Duration::ZERO).await;
        let buffered = BufferLayer::new(4).layer(client);
        let answers = (0..4).map(|n| buffered.clone().oneshot(request(n)));
        let answers = within(futures_util::future::join_all(answers)).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap().result::<usize>().unwrap(), n);
        }
        assert_eq!(calls.count(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn map_request_makes_calls_of_whatever_the_application_has() {
        let (client, _) = echo(Duration::ZERO).await;
        let squares = ServiceBuilder::new()
            .map_request(|n: u8| request(n * n))
            .service(client);
        let answer = within(squares.oneshot(3)).await.unwrap();
        assert_eq!(answer.result::<u8>().unwrap(), 9);
    }
}
