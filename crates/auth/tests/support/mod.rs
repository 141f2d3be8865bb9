//! A server that lets in those who show the right token, and counts everybody.

#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpListener, sync::broadcast, time::timeout};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};
use tower_ws_auth::{Credential, Credentials};
use tower_ws_core::BoxError;

pub(crate) struct Server {
    pub(crate) url: String,
    token: Arc<Mutex<String>>,
    shown: Arc<Mutex<Vec<String>>>,
    repeats: Arc<AtomicBool>,
    close: broadcast::Sender<u16>,
}

impl Server {
    pub(crate) async fn start(token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("ws://{}/path", listener.local_addr().unwrap()),
            token: Arc::new(Mutex::new(token.to_owned())),
            shown: Arc::default(),
            repeats: Arc::default(),
            close: broadcast::Sender::new(16),
        };
        let (token, shown, close) = (server.token.clone(), server.shown.clone(), server.close.clone());
        let repeats = server.repeats.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (token, shown, mut close) = (token.clone(), shown.clone(), close.subscribe());
                let repeats = repeats.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    #[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
                    let admit = |request: &Request, mut response: Response| {
                        let header = |name: &str| {
                            request
                                .headers()
                                .get(name)
                                .map(|value| value.to_str().unwrap().to_owned())
                        };
                        let offered = header("sec-websocket-protocol");
                        if let Some(offered) = &offered {
                            let chosen = if repeats { offered } else { "chat" };
                            response
                                .headers_mut()
                                .insert("sec-websocket-protocol", chosen.parse().unwrap());
                        }
                        let found = [
                            header("authorization"),
                            header("x-api-key"),
                            request.uri().query().map(ToOwned::to_owned),
                            offered,
                        ];
                        let found = found.into_iter().flatten().next().unwrap_or_default();
                        shown.lock().unwrap().push(found.clone());
                        match found.contains(token.lock().unwrap().as_str()) {
                            true => Ok(response),
                            false => Err(ErrorResponse::builder_401()),
                        }
                    };
                    let Ok(mut socket) = accept_hdr_async(stream, admit).await else {
                        return;
                    };
                    loop {
                        tokio::select! {
                            message = socket.next() => match message {
                                Some(Ok(Message::Text(text))) => {
                                    if socket.send(Message::Text(text)).await.is_err() {
                                        return;
                                    }
                                }
                                Some(Ok(_)) => {}
                                _ => return,
                            },
                            Ok(code) = close.recv() => {
                                let _ = socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// What lets in from now on.
    pub(crate) fn set_token(&self, token: &str) {
        token.clone_into(&mut self.token.lock().unwrap());
    }

    /// From now on it chooses all subprotocols that are offered.
    pub(crate) fn repeat_subprotocols(&self) {
        self.repeats.store(true, Ordering::SeqCst);
    }

    /// What was shown so far, by everybody.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }

    pub(crate) fn close(&self, code: u16) {
        let _ = self.close.send(code);
    }
}

trait Unauthorized {
    fn builder_401() -> Self;
}

impl Unauthorized for ErrorResponse {
    fn builder_401() -> Self {
        let mut response = Self::new(None);
        *response.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
        response
    }
}

/// Credentials that are counted: `token-1`, `token-2` …
pub(crate) fn counted() -> (Credentials, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let fetches = count.clone();
    let credentials = Credentials::new(move || {
        let n = fetches.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(Ok::<_, BoxError>(Credential::new(format!("token-{n}"))))
    });
    (credentials, count)
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("it hangs")
}
