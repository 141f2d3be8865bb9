//! A server that outlives its clients. It remembers what it was told, in order, and acknowledges
//! some of it late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::tungstenite::Message;

pub(crate) struct Server {
    port: u16,
    ledger: Arc<Mutex<Ledger>>,
    dark: watch::Sender<bool>,
}

#[derive(Default)]
struct Ledger {
    applied: Vec<u64>,
    /// What each id of a call stood for.
    ids: BTreeMap<u64, u64>,
}

impl Server {
    pub(crate) async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (dark, watch) = watch::channel(false);
        let shared = ledger.clone();
        tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // In the dark, whoever dials is turned away.
                if !*watch.borrow() {
                    tokio::spawn(serve(socket, shared.clone(), watch.clone(), rng.fork()));
                }
            }
        });
        Self { port, ledger, dark }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Drops everybody, and turns away whoever dials.
    pub(crate) fn go_dark(&self, dark: bool) {
        self.dark.send_replace(dark);
    }

    pub(crate) fn applied(&self) -> Vec<u64> {
        self.ledger.lock().unwrap().applied.clone()
    }
}

async fn serve(socket: TcpStream, ledger: Arc<Mutex<Ledger>>, mut dark: watch::Receiver<bool>, mut rng: fastrand::Rng) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else {
        return;
    };
    let mut owed: Vec<String> = Vec::new();
    loop {
        let delay = Duration::from_millis(rng.u64(0..20));
        let said = tokio::select! {
            said = socket.next() => said,
            () = async { drop(dark.wait_for(|dark| *dark).await) } => return,
            () = tokio::time::sleep(delay), if !owed.is_empty() => {
                for owed in owed.drain(..) {
                    if socket.send(Message::text(owed)).await.is_err() {
                        return;
                    }
                }
                continue;
            }
        };
        match said {
            Some(Ok(Message::Text(text))) => owed.push(apply(&text, &ledger)),
            Some(Ok(_)) => {}
            _ => return,
        }
        // Often at once, sometimes many together, and sometimes never: the process is killed first.
        if rng.bool() {
            for owed in owed.drain(..) {
                if socket.send(Message::text(owed)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Does what it is told, and returns what acknowledges it.
fn apply(text: &str, ledger: &Mutex<Ledger>) -> String {
    let mut ledger = ledger.lock().unwrap();
    if let Ok(n) = text.parse::<u64>() {
        ledger.applied.push(n);
        return format!("ack {n}");
    }
    let call: serde_json::Value = serde_json::from_str(text).unwrap();
    let (id, n) = (call["id"].as_u64().unwrap(), call["params"][0].as_u64().unwrap());
    let before = ledger.ids.insert(id, n);
    assert!(
        before.is_none_or(|before| before == n),
        "id {id} stood for {before:?} and stands for {n}"
    );
    ledger.applied.push(n);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{n}}}"#)
}
