use std::time::Duration;

use http::Request;
use tokio::time::{sleep, timeout};
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection, DropReason};

use crate::conformance::{
    link::{Link, SETTLE},
    stack::{Stack, Under},
    suite::{Outcome, Report, Suite, broken},
};

const WITHOUT: Outcome = Outcome::NotRun("the layer does not redial");

/// What holds between two connections of a session.
impl<L, M> Suite<Stack<L, M>, M>
where
    L: Layer<Under<M>>,
    L::Service: Service<Request<()>, Response: Connection<Message = M> + Send + 'static, Error: Into<BoxError>>,
    M: Clone + Send + 'static,
{
    pub(super) async fn redialling(&self, report: &mut Report) {
        report.add("not_ready_before_up_is_read", self.not_ready_before_up_is_read().await);
        report.add("the_sink_half_never_dials", self.the_sink_half_never_dials().await);
        report.add(
            "control_without_a_connection_comes_back",
            self.control_without_a_connection_comes_back().await,
        );
    }

    /// After a `Down` the sink is not ready until the next `Up` has been read.
    pub async fn not_ready_before_up_is_read(&self) -> Outcome {
        self.hold("not_ready_before_up_is_read", async {
            if !self.traits.redials {
                return WITHOUT;
            }
            if self.traits.holds {
                return Outcome::NotRun("the layer holds messages, so its sink may be ready at any time");
            }
            let mut link = self.between().await;
            if let Ok(ready) = timeout(SETTLE, link.ready()).await {
                broken("a sink that waits for `Up`", format!("{ready:?}"));
            }
            link.up().await;
            self.at("waiting for the sink after `Up`");
            link.ready()
                .await
                .unwrap_or_else(|error| broken("a sink that is ready", error));
            Outcome::Held
        })
        .await
    }

    /// Only reading dials: a writer that waits makes no attempt, however long it waits.
    pub async fn the_sink_half_never_dials(&self) -> Outcome {
        self.hold("the_sink_half_never_dials", async {
            if !self.traits.redials {
                return WITHOUT;
            }
            let mut link = self.between().await;
            let before = link.peer.dials();
            for _ in 0..20 {
                let _ = timeout(SETTLE, link.ready()).await;
                let _ = link.push().await;
                sleep(Duration::from_secs(1)).await;
            }
            if link.peer.dials() != before {
                broken("no dial while nobody reads", format!("{}", link.peer.dials() - before));
            }
            link.up().await;
            Outcome::Held
        })
        .await
    }

    /// A control message that is handed over while there is no connection comes back as
    /// disconnected.
    pub async fn control_without_a_connection_comes_back(&self) -> Outcome {
        self.hold("control_without_a_connection_comes_back", async {
            if !self.traits.redials {
                return WITHOUT;
            }
            let mut link = self.between().await;
            let (item, _) = link.item(7);
            if let Err(error) = link.start_send(item.control()) {
                broken("a sink that takes a control message", error);
            }
            link.up().await;
            link.finish().await;
            match &link.dropped[..] {
                [(7, DropReason::Disconnected)] if !link.arrived.contains(&7) => Outcome::Held,
                dropped => broken(
                    "the control message comes back once, as disconnected, and is not written",
                    format!("dropped: {dropped:?}, written: {:?}", link.arrived),
                ),
            }
        })
        .await
    }

    /// A session whose first connection has ended, read up to its `Down`.
    async fn between(&self) -> Link<'_, Stack<L, M>> {
        let mut link = self.link().await;
        link.up().await;
        link.cut().await;
        link.down().await;
        link
    }
}
