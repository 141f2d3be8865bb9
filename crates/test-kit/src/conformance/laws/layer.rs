use futures_util::{SinkExt, StreamExt};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection, Event, Outgoing};

use crate::conformance::{
    below::Scripted,
    link::Link,
    stack::{Stack, Under},
    suite::{Outcome, Report, Suite, broken},
};

/// How a layer treats what is below it.
impl<L, M> Suite<Stack<L, M>, M>
where
    L: Layer<Under<M>>,
    L::Service: Service<Request<()>, Response: Connection<Message = M> + Send + 'static, Error: Into<BoxError>>,
    M: Clone + Send + 'static,
{
    /// All laws.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        // First, because every other law calls the service too.
        report.add(
            "a_readied_service_goes_with_the_call",
            self.a_readied_service_goes_with_the_call().await,
        );
        self.common(&mut report).await;
        report.add("a_flush_reaches_below", self.a_flush_reaches_below().await);
        report.add(
            "control_is_passed_on_at_once",
            self.control_is_passed_on_at_once().await,
        );
        report.add("wrapping_is_transparent", self.wrapping_is_transparent().await);
        self.redialling(&mut report).await;
        self.pressure(&mut report).await;
        report
    }

    /// The service that was polled ready is the one that is called, each time.
    pub async fn a_readied_service_goes_with_the_call(&self) -> Outcome {
        self.hold("a_readied_service_goes_with_the_call", async {
            let (mut service, below, peer) = self.harness.service();
            for dials in 1..=2 {
                self.at("calling the layer's service once it is ready");
                let mut connection = Box::pin(Stack::<L, M>::dial(&mut service).await);
                if !matches!(connection.next().await, Some(Event::Up(_))) {
                    broken("`Up`", "something else");
                }
                if below.calls() != dials {
                    broken(format!("{dials} calls below"), below.calls());
                }
                if dials == 2 && self.traits.redials {
                    self.at("waiting for a redial");
                    peer.cut("to see a redial");
                    while !matches!(connection.next().await, None | Some(Event::Up(_))) {}
                }
            }
            Outcome::Held
        })
        .await
    }

    /// A flush always flushes below: with something to send, with nothing, and when the layer's own
    /// items cannot move.
    pub async fn a_flush_reaches_below(&self) -> Outcome {
        self.hold("a_flush_reaches_below", async {
            let mut link = self.link().await;
            link.up().await;
            self.flush_once(&mut link, "with nothing to send").await;
            let item = Outgoing::new(self.message(1));
            link.sink
                .feed(item)
                .await
                .unwrap_or_else(|error| broken("an open connection", error));
            self.flush_once(&mut link, "with something to send").await;
            match link.jam().await {
                Ok(_) => self.flush_once(&mut link, "when nothing can move").await,
                Err((why, _)) => return Outcome::Adapted(why),
            }
            Outcome::Held
        })
        .await
    }

    async fn flush_once(&self, link: &mut Link<'_, Stack<L, M>>, when: &str) {
        let before = link.peer.flushes();
        let _ = link.push().await;
        if link.peer.flushes() == before {
            broken(format!("a flush below, {when}"), "none");
        }
    }

    /// A control message reaches the connection below within the call that hands it over, ahead of
    /// what the layer holds.
    pub async fn control_is_passed_on_at_once(&self) -> Outcome {
        self.hold("control_is_passed_on_at_once", async {
            let mut link = self.link().await;
            link.up().await;
            if let Err((why, _)) = link.jam().await {
                return Outcome::NotRun(why);
            }
            let n = u64::MAX / 2;
            let (item, _) = link.item(n);
            if let Err(error) = link.start_send(item.control()) {
                broken("a sink that takes a control message without readiness", error);
            }
            if !self.taken(&link.peer).contains(&n) {
                broken("the control message is with the connection below", "the layer keeps it");
            }
            Outcome::Held
        })
        .await
    }

    pub(super) fn taken(&self, peer: &Scripted<M>) -> Vec<u64> {
        peer.taken(|message| self.number(message))
            .into_iter()
            .flatten()
            .collect()
    }
}
