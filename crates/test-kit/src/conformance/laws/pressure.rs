use std::{future::poll_fn, task::Poll};

use futures_util::SinkExt;
use http::Request;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection, DropReason, Event, Outgoing};

use crate::conformance::{
    link::SETTLE,
    stack::{Stack, Under},
    suite::{Outcome, Report, Suite, broken},
};

/// How many events a peer that always has something to say may put anything off by, in all layers
/// of a small stack.
const FAIR: usize = 4 * 64;

/// How many refused messages may wait to be told of: more than any layer has room for by default.
const REFUSED: u64 = 16 << 10;

/// What holds whatever the peer does: laws 12 to 16.
impl<L, M> Suite<Stack<L, M>, M>
where
    L: Layer<Under<M>>,
    L::Service: Service<Request<()>, Response: Connection<Message = M> + Send + 'static, Error: Into<BoxError>>,
    M: Clone + Send + 'static,
{
    pub(super) async fn pressure(&self, report: &mut Report) {
        report.add("a_flood_puts_off_no_write", self.a_flood_puts_off_no_write().await);
        report.add("a_flood_puts_off_no_close", self.a_flood_puts_off_no_close().await);
        report.add(
            "ready_stays_until_it_is_used",
            self.ready_stays_until_it_is_used().await,
        );
        report.add(
            "ready_takes_a_message_while_the_session_goes_on",
            self.ready_takes_a_message_while_the_session_goes_on().await,
        );
        report.add(
            "what_is_bound_to_an_epoch_stays_there",
            self.what_is_bound_to_an_epoch_stays_there().await,
        );
        report.add(
            "what_is_refused_waits_within_bounds",
            self.what_is_refused_waits_within_bounds().await,
        );
    }

    /// What the layer holds is written although a read never finds nothing.
    pub async fn a_flood_puts_off_no_write(&self) -> Outcome {
        self.hold("a_flood_puts_off_no_write", async {
            let mut link = self.link().await;
            link.up().await;
            let jam = match link.jam().await {
                Ok(jam) => jam,
                Err((why, _)) => return Outcome::NotRun(why),
            };
            link.peer.floods(&self.message(u64::MAX / 3));
            self.at("reading a flood, while the peer reads what had filled the connection");
            for _ in 0..FAIR * jam.len().max(1) {
                // It makes room for one, which the reader has to find.
                let _ = link.peer.take();
                link.event().await;
                if self.taken(&link.peer).len() >= jam.len() {
                    link.peer.dry();
                    return Outcome::Held;
                }
            }
            broken(
                format!("{} messages with the connection below", jam.len()),
                format!("{:?}", self.taken(&link.peer)),
            )
        })
        .await
    }

    /// A close that was begun goes on although a read never finds nothing.
    pub async fn a_flood_puts_off_no_close(&self) -> Outcome {
        self.hold("a_flood_puts_off_no_close", async {
            let mut link = self.link().await;
            link.up().await;
            link.peer.floods(&self.message(u64::MAX / 3));
            poll_fn(|cx| {
                let _ = link.sink.poll_close_unpin(cx);
                Poll::Ready(())
            })
            .await;
            self.at("reading a flood while the connection is closed");
            for _ in 0..FAIR {
                if link.peer.is_closed() {
                    link.peer.dry();
                    link.finish().await;
                    return Outcome::Held;
                }
                link.event().await;
            }
            broken("the connection below is asked to close", "it is not")
        })
        .await
    }

    /// A sink that said that it is ready says so again, whatever comes in, until it is used.
    pub async fn ready_stays_until_it_is_used(&self) -> Outcome {
        self.hold("ready_stays_until_it_is_used", async {
            let mut link = self.link().await;
            link.up().await;
            self.at("waiting for the sink");
            link.ready()
                .await
                .unwrap_or_else(|error| broken("a sink that is ready", error));
            for n in 0..8 {
                link.hear(1000 + n).await;
                let ready = poll_fn(|cx| Poll::Ready(link.sink.poll_ready_unpin(cx))).await;
                if !matches!(ready, Poll::Ready(Ok(()))) {
                    broken("a sink that is ready still", format!("{ready:?}"));
                }
            }
            Outcome::Held
        })
        .await
    }

    /// A sink that said that it is ready takes a message without an error, also if the connection
    /// has been lost since; then the message comes back, or goes out once.
    pub async fn ready_takes_a_message_while_the_session_goes_on(&self) -> Outcome {
        self.hold("ready_takes_a_message_while_the_session_goes_on", async {
            let mut link = self.link().await;
            link.up().await;
            self.at("waiting for the sink");
            link.ready()
                .await
                .unwrap_or_else(|error| broken("a sink that is ready", error));
            link.cut().await;
            if let Err(error) = link.start_send(Outgoing::new(self.message(7))) {
                broken("a sink that takes the message: its end has not been read", error);
            }
            link.down().await;
            if self.traits.redials {
                link.up().await;
            }
            link.finish().await;
            let back = link.dropped.iter().filter(|(n, _)| *n == 7).count();
            let arrived = link.arrived.iter().filter(|n| **n == 7).count();
            if back + arrived != 1 {
                broken(
                    "the message comes back or arrives",
                    format!("{back} times back, {arrived} times there"),
                );
            }
            Outcome::Held
        })
        .await
    }

    /// A message that makes sense in one epoch only is never written in another.
    pub async fn what_is_bound_to_an_epoch_stays_there(&self) -> Outcome {
        self.hold("what_is_bound_to_an_epoch_stays_there", async {
            if !self.traits.redials {
                return Outcome::NotRun("the layer does not redial");
            }
            let mut link = self.link().await;
            let first = link.up().await;
            link.cut().await;
            link.down().await;
            let second = link.up().await;
            for (n, epoch) in [(1, first), (2, second)] {
                self.at("sending what is bound to an epoch");
                link.ready()
                    .await
                    .unwrap_or_else(|error| broken("a sink that is ready", error));
                let (item, _) = link.item(n);
                if let Err(error) = link.start_send(item.epoch(epoch)) {
                    broken("a sink that takes the message", error);
                }
                let _ = link.push().await;
            }
            link.finish().await;
            let back = link.dropped.contains(&(1, DropReason::Disconnected));
            match back && link.arrived == [2] {
                true => Outcome::Held,
                false => broken(
                    "message 1 comes back as disconnected, message 2 arrives",
                    format!("dropped: {:?}, written: {:?}", link.dropped, link.arrived),
                ),
            }
        })
        .await
    }

    /// A layer that refuses messages has its sink wait once too many wait to be told of, since nobody
    /// need read. Each comes back once, and then there is room again.
    pub async fn what_is_refused_waits_within_bounds(&self) -> Outcome {
        self.hold("what_is_refused_waits_within_bounds", async {
            let Some(make) = self.refused else {
                return Outcome::NotRun("no message is known that the layer refuses");
            };
            let mut link = self.link().await;
            link.up().await;
            self.at("sending what is refused, while nobody reads");
            let mut sent = 0;
            while let Ok(ready) = timeout(SETTLE, link.ready()).await {
                ready.unwrap_or_else(|error| broken("a sink that is ready or waits", error));
                if sent == REFUSED {
                    broken("a sink that waits", format!("{sent} messages wait to be told of"));
                }
                if let Err(error) = link.start_send(Outgoing::new(make(sent))) {
                    broken("a ready sink that takes a message", error);
                }
                sent += 1;
                let _ = link.push().await;
            }
            self.at("reading that they were refused");
            for _ in 0..sent {
                match link.event().await {
                    Some(Event::Dropped(..)) => {}
                    other => broken(
                        "each message comes back",
                        format!("{:?}", other.map(|_| "another event")),
                    ),
                }
            }
            self.at("waiting for the sink, which has room again");
            link.ready()
                .await
                .unwrap_or_else(|error| broken("a sink that is ready", error));
            Outcome::Held
        })
        .await
    }
}
