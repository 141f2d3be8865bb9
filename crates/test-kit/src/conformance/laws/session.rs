use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use futures_util::{
    SinkExt, StreamExt,
    future::{Either, select},
};
use tokio::time::{sleep, timeout};

use crate::conformance::{
    harness::{Harness, Peer},
    link::SETTLE,
    suite::{Outcome, Suite, broken},
};

/// How a session begins and ends.
impl<H: Harness> Suite<H, H::Message> {
    /// The first item is `Up`; each `Up` is followed by one `Down` of its epoch; then comes `None`,
    /// or with a layer that redials `Up` of a later epoch. Whoever ends the connection.
    pub async fn one_down_for_each_up(&self) -> Outcome {
        self.hold("one_down_for_each_up", async {
            let mut link = self.link().await;
            let mut cut = true;
            for n in 0..if self.traits.redials { 3 } else { 1 } {
                link.up().await;
                link.hear(n).await;
                cut = link.cut().await;
                if !cut {
                    break;
                }
                link.down().await;
            }
            link.finish().await;

            let mut link = self.link().await;
            link.up().await;
            link.finish().await;
            match cut {
                true => Outcome::Held,
                false => Outcome::Adapted("the peer cannot end a connection: only this side did"),
            }
        })
        .await
    }

    /// Once the stream has ended it stays so, and the sink says that it is closed. Nothing waits
    /// for ever.
    pub async fn nothing_after_none(&self) -> Outcome {
        self.hold("nothing_after_none", async {
            let mut link = self.link().await;
            link.up().await;
            link.finish().await;
            for _ in 0..8 {
                self.at("polling a stream that has ended");
                if link.sink.next().await.is_some() {
                    broken("`None` again", "another event");
                }
            }
            self.at("polling the sink of a stream that has ended");
            if link.ready().await.is_ok() {
                broken("a sink that says that it is closed", "a sink that is ready");
            }
            Outcome::Held
        })
        .await
    }

    /// Dropping a connection ends it for the peer.
    pub async fn dropping_aborts(&self) -> Outcome {
        self.hold("dropping_aborts", async {
            let mut link = self.link().await;
            link.up().await;
            let mut peer = link.peer;
            drop(link.sink);
            self.at("waiting for the peer to see the end");
            while peer.recv().await.is_some() {}
            Outcome::Held
        })
        .await
    }

    /// `poll_close` does not read: what the peer said before it learned of the closing is still
    /// read, then `Down`, then `None`.
    pub async fn close_loses_nothing_unread(&self) -> Outcome {
        self.hold("close_loses_nothing_unread", async {
            let mut link = self.link().await;
            link.up().await;
            let mut said = Vec::new();
            for n in 0..5 {
                self.at("waiting for the peer to send");
                // Nobody reads: the way may be full.
                if timeout(SETTLE, link.peer.send(self.message(n))).await.is_err() {
                    break;
                }
                said.push(n);
            }
            // With more to come in, a close that read would be done later, or lose some.
            link.finish().await;
            if !link.read.starts_with(&said) {
                broken(
                    format!("the messages {said:?}, then the end"),
                    format!("{:?}", link.read),
                );
            }
            Outcome::Held
        })
        .await
    }

    /// Once `poll_close` is done, the peer sees the end, though nobody reads on this side.
    pub async fn close_reaches_the_peer(&self) -> Outcome {
        self.hold("close_reaches_the_peer", async {
            let mut link = self.link().await;
            link.up().await;
            self.at("closing, while the peer reads");
            let closed = async {
                let _ = link.sink.close().await;
                // Well below the deadline of a closing handshake, which would end it too.
                sleep(Duration::from_secs(2)).await;
            };
            let ended = async { while link.peer.recv().await.is_some() {} };
            match select(pin!(ended), pin!(closed)).await {
                Either::Left(_) => Outcome::Held,
                Either::Right(_) => broken(
                    "the peer sees the end soon after `poll_close` is done",
                    "nothing for 2 s",
                ),
            }
        })
        .await
    }

    /// Closing twice, and closing what has ended, is harmless.
    pub async fn closing_again_is_harmless(&self) -> Outcome {
        self.hold("closing_again_is_harmless", async {
            let mut link = self.link().await;
            link.up().await;
            for _ in 0..3 {
                let _ = poll_fn(|cx| Poll::Ready(link.sink.poll_close_unpin(cx))).await;
            }
            link.finish().await;
            self.at("closing a connection that has ended");
            let _ = link.sink.close().await;
            Outcome::Held
        })
        .await
    }
}
