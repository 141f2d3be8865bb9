//! One dial, from its first byte to its end.

use std::pin::pin;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::handshake::{self, Asked};
use super::speech::{Said, Speech};
use super::throttle::Throttle;
use super::{Applied, Conduct, Cut, Dial, Door, Shared};

type Socket = WebSocketStream<Throttle>;

/// Of each push of a flood.
const FLOOD_BYTES: usize = 1_024;
/// Behind so many pushes of a flood the connection's other business has its turn.
const FLOOD_BATCH: u64 = 1_024;
/// Enough for a protocol's own handshake.
const BRIEFLY: Duration = Duration::from_millis(20);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long the peer has for its part of an end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whatever goes wrong with a connection has no consequence but its end.
pub(super) async fn run(mut stream: TcpStream, shared: Shared) {
    let Ok(asked) = handshake::read(&mut stream).await else {
        return;
    };
    let speech = Speech::by_path(asked.path());
    let conduct = match decide(&asked, &shared) {
        Decision::Serve(conduct) => conduct,
        Decision::Drop(cut) => {
            if asked.upgrade(&mut stream).await.is_ok() {
                let number = shared.ledger().dials.len();
                let served = Served {
                    speech,
                    number,
                    conduct: Conduct::Serve,
                    shared,
                };
                served.run(socket(stream, None).await, Some(cut)).await;
            }
            return;
        }
        Decision::Refuse(status, header) => {
            let _ = handshake::refuse(&mut stream, status, &header).await;
            return;
        }
        Decision::HangUp => {
            let _ = stream.shutdown().await;
            return;
        }
    };
    if asked.upgrade(&mut stream).await.is_err() {
        return;
    }
    let slow = match conduct {
        Conduct::Slow(bytes_per_second) => Some(bytes_per_second),
        _ => None,
    };
    let number = {
        let mut ledger = shared.ledger();
        if ledger.up.is_none() {
            ledger.up = Some(shared.now());
            shared.up.notify_one();
        }
        ledger.dials.len()
    };
    let socket = socket(stream, slow).await;
    let speech = Speech::by_path(asked.path());
    Served {
        speech,
        number,
        conduct,
        shared,
    }
    .run(socket, None)
    .await;
}

enum Decision {
    Serve(Conduct),
    Drop(Cut),
    HangUp,
    Refuse(&'static str, String),
}

/// What becomes of this dial, which goes into the ledger.
fn decide(asked: &Asked, shared: &Shared) -> Decision {
    let now = shared.now();
    let mut ledger = shared.ledger();
    let token = asked.token().map(str::to_owned);
    let decision = match (ledger.cut, shared.plan.later) {
        (None, _) if ledger.dials.is_empty() => Decision::Serve(shared.plan.first),
        (None, _) | (_, Door::Open) => Decision::Serve(Conduct::Serve),
        (_, Door::Drop(cut)) => Decision::Drop(cut),
        (_, Door::HangUp) => Decision::HangUp,
        (_, Door::NotFound(time)) if ledger.cut.is_some_and(|cut| now < cut + time) => {
            Decision::Refuse("404 Not Found", String::new())
        }
        (Some(cut), Door::Busy(time)) => {
            let first = ledger
                .dials
                .iter()
                .map(|dial| dial.at)
                .find(|at| *at > cut)
                .unwrap_or(now);
            match (first + time).checked_sub(now) {
                Some(left) if !left.is_zero() => {
                    let seconds = left.as_secs_f64().ceil();
                    Decision::Refuse("503 Service Unavailable", format!("Retry-After: {seconds}\r\n"))
                }
                _ => Decision::Serve(Conduct::Serve),
            }
        }
        (_, Door::NewToken) if ledger.dials.first().is_some_and(|first| first.token == token) => {
            Decision::Refuse("401 Unauthorized", "WWW-Authenticate: Bearer\r\n".to_owned())
        }
        (_, Door::NotFound(_) | Door::NewToken) => Decision::Serve(Conduct::Serve),
    };
    let served = matches!(decision, Decision::Serve(_));
    ledger.dials.push(Dial { at: now, served, token });
    decision
}

async fn socket(stream: TcpStream, slow: Option<usize>) -> Socket {
    let _ = stream.set_nodelay(true);
    WebSocketStream::from_raw_socket(Throttle::new(stream, slow), Role::Server, None).await
}

/// A connection that is up.
struct Served {
    speech: Speech,
    number: usize,
    conduct: Conduct,
    shared: Shared,
}

impl Served {
    /// Briefly, if it is to be dropped at once: long enough for the client to know that it is up.
    async fn run(self, socket: Socket, drop_at_once: Option<Cut>) {
        let mut cut = self.shared.cut.clone();
        // Only a cut that comes ends it, not one that has been.
        cut.mark_unchanged();
        let (mut sink, mut stream) = socket.split();
        let (replies, mut to_write) = unbounded_channel();
        let writing = self.write(&mut sink, &mut to_write);
        let reading = self.read(&mut stream, &replies);
        let how = tokio::select! {
            biased;
            Ok(()) = cut.changed() => *cut.borrow(),
            () = sleep(BRIEFLY), if drop_at_once.is_some() => drop_at_once,
            _ = writing => None,
            () = reading => None,
        };
        let Ok(socket) = sink.reunite(stream) else { return };
        match how {
            Some(how) => end(socket, how).await,
            None => drop(socket),
        }
    }

    /// Until the client ends it.
    async fn read(
        &self,
        stream: &mut (impl StreamExt<Item = Result<Message, Error>> + Unpin),
        replies: &UnboundedSender<String>,
    ) {
        let mut mute = pin!(async {
            match self.conduct {
                Conduct::Mute(after) => sleep(after).await,
                _ => std::future::pending().await,
            }
        });
        loop {
            let next = tokio::select! {
                biased;
                () = &mut mute => std::future::pending().await,
                next = stream.next() => next,
            };
            match next {
                Some(Ok(Message::Text(text))) => self.hear(&text, replies),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    fn hear(&self, text: &str, replies: &UnboundedSender<String>) {
        for said in self.speech.read(text) {
            let reply = match said {
                Said::Apply(n, reply) => {
                    let mut ledger = self.shared.ledger();
                    ledger.applied.push(Applied {
                        at: self.shared.now(),
                        n,
                        connection: self.number,
                    });
                    reply.filter(|_| self.conduct != Conduct::Withhold)
                }
                Said::Reply(reply) => Some(reply),
                Said::Nothing => None,
            };
            if let Some(reply) = reply {
                let _ = replies.send(reply);
            }
        }
    }

    async fn write(
        &self,
        sink: &mut (impl SinkExt<Message, Error = Error> + Unpin),
        replies: &mut UnboundedReceiver<String>,
    ) -> Result<(), Error> {
        let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let mut pushes = pin!(sleep(Duration::from_secs(1)));
        let mut pushed = 0;
        // So many, of that size, so many at once.
        let (all, bytes, batch) = match self.conduct {
            Conduct::Burst(all) => (all, 0, all),
            Conduct::Flood => (u64::MAX, FLOOD_BYTES, FLOOD_BATCH),
            _ => (0, 0, 0),
        };
        let muted = async {
            match self.conduct {
                Conduct::Mute(after) => sleep(after).await,
                _ => std::future::pending().await,
            }
        };
        let mut muted = pin!(muted);
        loop {
            tokio::select! {
                biased;
                () = &mut muted => std::future::pending().await,
                Some(reply) = replies.recv() => sink.send(Message::text(reply)).await?,
                _ = beats.tick() => {
                    if let Some(beat) = self.speech.heartbeat() {
                        sink.send(Message::text(beat)).await?;
                    }
                }
                () = &mut pushes, if pushed < all => {
                    for _ in 0..batch {
                        pushed += 1;
                        sink.feed(Message::text(self.speech.push(pushed, bytes))).await?;
                    }
                    sink.flush().await?;
                    pushes.set(sleep(Duration::ZERO));
                }
            }
        }
    }
}

async fn end(mut socket: Socket, how: Cut) {
    match how {
        Cut::Reset => {
            let _ = socket2::SockRef::from(socket.get_ref().tcp()).set_linger(Some(Duration::ZERO));
        }
        Cut::Fin => {
            let _ = socket.get_mut().shutdown().await;
            drain(&mut socket).await;
        }
        Cut::Close(code) => {
            let frame = CloseFrame {
                code: CloseCode::from(code),
                reason: "".into(),
            };
            if timeout(FAREWELL, socket.close(Some(frame))).await.is_ok() {
                drain(&mut socket).await;
            }
        }
    }
}

/// Reads what is left: a socket that is closed with something unread in it is reset.
async fn drain(socket: &mut Socket) {
    let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = socket.next().await {} }).await;
}
