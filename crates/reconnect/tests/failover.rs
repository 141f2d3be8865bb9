//! Several endpoints under one session.

mod support;

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use support::{Act, Dial, Link, Net, closed, down, is_pending, refused, status, up};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_ws_core::{BoxError, Close, Connection, Disposition, DispositionTable, Failure, FailureKind, RetryAfter, Up};
use tower_ws_reconnect::{
    EndpointIndex, EndpointState, FailoverConnection, FailoverLayer, ReconnectError, ReconnectLayer, Targets,
};

const SECOND: Duration = Duration::from_secs(1);

/// Each endpoint has a network of its own.
#[derive(Clone)]
struct Nets(Vec<Net>);

impl Nets {
    fn new<const N: usize>(nets: [Net; N]) -> (Self, Targets<usize>) {
        (Self(nets.to_vec()), Targets::new(0, 1..N))
    }

    async fn session(
        &self,
        targets: &Targets<usize>,
    ) -> Result<impl Connection<Message = String> + Unpin + use<>, ReconnectError> {
        let mut service = ServiceBuilder::new()
            .layer(ReconnectLayer::new().seed(1))
            .layer(FailoverLayer::new())
            .service(self.clone());
        service.ready().await?.call(targets.clone()).await
    }

    /// One dial, without reconnect.
    async fn dial(&self, targets: &Targets<usize>) -> Result<FailoverConnection<Link>, Failure> {
        FailoverLayer::new().layer(self.clone()).oneshot(targets.clone()).await
    }

    /// How often each endpoint was dialled.
    fn dials(&self) -> Vec<usize> {
        self.0.iter().map(|net| net.dials().len()).collect()
    }

    fn times(&self) -> Vec<Instant> {
        let mut times: Vec<_> = self.0.iter().flat_map(Net::dials).collect();
        times.sort();
        times
    }
}

impl Service<usize> for Nets {
    type Response = Link;
    type Error = BoxError;
    type Future = <Dial as Service<()>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: usize) -> Self::Future {
        let mut dial = self.0[endpoint].service();
        assert!(dial.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        dial.call(())
    }
}

fn refusing(failure: Failure) -> Net {
    Net::new(move |_| Act::Refuse(failure.clone()))
}

fn endpoint(up: &Up) -> usize {
    assert!(up.layers.contains(&"failover"));
    up.extensions.get::<EndpointIndex>().expect("it says which").0
}

fn is_cooling(targets: &Targets<usize>, endpoint: usize) -> bool {
    matches!(targets.endpoints()[endpoint].state, EndpointState::CoolingDown { .. })
}

#[tokio::test(start_paused = true)]
async fn the_preferred_endpoint_is_dialled() {
    let (nets, targets) = Nets::new([Net::accepting(), Net::accepting()]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 0);
    assert_eq!(nets.dials(), [1, 0]);
    assert!(
        targets
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.state == EndpointState::Ready)
    );
}

#[tokio::test(start_paused = true)]
async fn it_fails_over_at_once_and_returns_after_the_cool_down() {
    let first = Net::new(|n| if n == 1 { Act::Refuse(refused()) } else { Act::Accept });
    let (nets, targets) = Nets::new([first, Net::accepting()]);
    let start = Instant::now();
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 1);
    assert!(start.elapsed() <= SECOND + SECOND / 10, "{:?}", start.elapsed());
    assert_eq!(
        targets.endpoints()[0].last_failure.as_ref().map(Failure::kind),
        Some(FailureKind::Network)
    );
    let until = start + SECOND * 30;
    assert_eq!(targets.endpoints()[0].state, EndpointState::CoolingDown { until });

    // Before that is over, not; a healthy connection that is lost is nobody's fault.
    sleep(SECOND * 10).await;
    nets.0[1].peer().end(None);
    down(&mut session).await;
    assert_eq!(targets.endpoints()[1].state, EndpointState::Ready);
    assert_eq!(endpoint(&up(&mut session).await), 1);

    sleep(SECOND * 30).await;
    nets.0[1].peer().end(None);
    down(&mut session).await;
    assert_eq!(endpoint(&up(&mut session).await), 0);
    assert_eq!(targets.endpoints()[0].state, EndpointState::Ready);
    assert!(targets.endpoints()[0].last_failure.is_some());
}

#[tokio::test(start_paused = true)]
async fn accept_then_drop_is_a_failure() {
    let first = Net::new(|_| Act::Drop(SECOND * 3, None));
    let (nets, targets) = Nets::new([first, Net::accepting()]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 0);
    assert!(!is_cooling(&targets, 0));
    assert!(down(&mut session).await.will_retry);
    assert!(is_cooling(&targets, 0));
    assert_eq!(endpoint(&up(&mut session).await), 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_learn_from_each_other() {
    let (nets, targets) = Nets::new([refusing(refused()), Net::accepting()]);
    for _ in 0..10 {
        drop(nets.session(&targets).await.unwrap());
    }
    assert_eq!(nets.dials(), [1, 10]);
}

#[tokio::test(start_paused = true)]
async fn all_down_is_no_storm_and_ends() {
    let start = Instant::now();
    let script = move |_| match start.elapsed() < SECOND * 200 {
        true => Act::Refuse(refused()),
        false => Act::Accept,
    };
    let (nets, targets) = Nets::new([Net::new(script), Net::new(script), Net::new(script)]);
    drop(nets.session(&targets).await.unwrap());
    let times = nets.times();
    assert!(times.windows(2).all(|two| two[1] - two[0] >= SECOND), "{times:?}");
    assert!(times.iter().filter(|time| **time - start < SECOND * 10).count() <= 6);
    assert!(times.len() <= 18, "{}", times.len());
    assert!(nets.dials().iter().all(|dials| *dials >= 2), "{:?}", nets.dials());
    assert!(start.elapsed() <= SECOND * 231, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_one_endpoint_finally_refuses_another_may_grant() {
    let (nets, targets) = Nets::new([refusing(status(403)), Net::accepting()]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 1);
    assert_eq!(
        targets.endpoints()[0].last_failure.as_ref().and_then(Failure::status),
        Some(403)
    );

    // After a long time, too, and after the fact.
    sleep(SECOND * 3600).await;
    nets.0[1].peer().end(Some(closed(4403)));
    assert!(down(&mut session).await.will_retry);
    assert!(is_cooling(&targets, 1));
    // The first refuses again: now all have, in this outage.
    assert!(session.next().await.is_none());
    assert_eq!(nets.dials(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_final_one_down_goes_on() {
    let second = Net::new(|n| if n <= 5 { Act::Refuse(refused()) } else { Act::Accept });
    let (nets, targets) = Nets::new([refusing(status(403)), second]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 1);
}

#[tokio::test(start_paused = true)]
async fn all_final_ends_the_session() {
    let nets = [403, 404, 410].map(|code| refusing(status(code)));
    let (nets, targets) = Nets::new(nets);
    let error = nets.session(&targets).await.err().unwrap();
    assert_eq!(error.cause().status(), Some(410));
    assert_eq!(nets.dials(), [1, 1, 1]);

    // However long the dials take.
    let slow = || Net::new(|_| Act::Stall(SECOND * 40, status(403)));
    let (nets, targets) = Nets::new([slow(), slow(), slow()]);
    nets.session(&targets).await.err().unwrap();
    assert_eq!(nets.dials(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_endpoints_wish_does_not_hold_up_the_others() {
    let busy = status(503).with_retry_after(RetryAfter::Delay(SECOND * 100));
    let (nets, targets) = Nets::new([refusing(busy.clone()), Net::accepting()]);
    let start = Instant::now();
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 1);
    assert!(start.elapsed() < SECOND * 2);
    let until = start + SECOND * 100;
    assert_eq!(targets.endpoints()[0].state, EndpointState::CoolingDown { until });
    // One that closes with "try again later" is left, too.
    sleep(SECOND * 60).await;
    nets.0[1].peer().end(Some(closed(1013)));
    down(&mut session).await;
    assert!(is_cooling(&targets, 1));

    // When all ask, they are heard.
    let (nets, targets) = Nets::new([refusing(busy.clone()), refusing(busy)]);
    let waiting = nets.session(&targets);
    tokio::time::timeout(SECOND * 90, waiting).await.err().unwrap();
    assert_eq!(nets.dials(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_refreshed_before_the_endpoint_is_blamed() {
    let first = Net::new(|n| if n == 1 { Act::Refuse(status(401)) } else { Act::Accept });
    let (nets, targets) = Nets::new([first, Net::accepting()]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 0);

    let (nets, targets) = Nets::new([refusing(status(401)), refusing(status(401))]);
    assert_eq!(nets.session(&targets).await.err().unwrap().cause().status(), Some(401));
    assert_eq!(nets.dials(), [2, 2]);
}

/// Each endpoint has a credential of its own: when all expire at once, each refuses one.
#[tokio::test(start_paused = true)]
async fn a_credential_that_another_endpoint_refuses_is_not_the_same_again() {
    let first = Net::new(|n| match n {
        1 => Act::Refuse(status(503)),
        2 => Act::Refuse(status(401)),
        _ => Act::Accept,
    });
    let (nets, targets) = Nets::new([first, Net::accepting()]);
    let mut session = nets.session(&targets).await.unwrap();
    assert_eq!(endpoint(&up(&mut session).await), 1);
    sleep(600 * SECOND).await;
    nets.0[1].peer().end(Some(closed(4401)));
    assert!(down(&mut session).await.will_retry);
    assert_eq!(endpoint(&up(&mut session).await), 0);
    assert_eq!(nets.dials(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_was_displaced_does_not_fight_elsewhere() {
    for (table, code, reason) in [
        (DispositionTable::default(), 4409, ""),
        (DispositionTable::default(), 1000, "replaced by another connection"),
        (DispositionTable::default(), 1001, "replaced by another connection"),
        (DispositionTable::mcp(), 1001, "replaced by another connection"),
        (
            DispositionTable::mcp(),
            1008,
            "this token was taken over by another connection",
        ),
    ] {
        let cause = Failure::closed(Close {
            code,
            reason: reason.to_owned(),
        });
        let first = Net::new(move |_| Act::Drop(SECOND, Some(cause.clone())));
        let (nets, targets) = Nets::new([first, Net::accepting()]);
        let mut service = ServiceBuilder::new()
            .layer(ReconnectLayer::new().seed(1).dispositions(table.clone()))
            .layer(FailoverLayer::new().dispositions(table))
            .service(nets.clone());
        let mut session = service.ready().await.unwrap().call(targets).await.unwrap();
        up(&mut session).await;
        assert!(!down(&mut session).await.will_retry, "{code} {reason}");
        assert_eq!(nets.dials(), [1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn it_judges_by_the_table_that_reconnect_has() {
    // Final by the documented table: the endpoint would be given up.
    let table = DispositionTable::default().on_close(4404..=4404, Disposition::Backoff);
    let net = || Net::new(|_| Act::Drop(SECOND, Some(closed(4404))));
    let (nets, targets) = Nets::new([net(), net()]);
    let mut service = ServiceBuilder::new()
        .layer(ReconnectLayer::new().seed(1).dispositions(table.clone()))
        .layer(FailoverLayer::new().dispositions(table))
        .service(nets.clone());
    let mut session = service.ready().await.unwrap().call(targets).await.unwrap();
    for _ in 0..6 {
        up(&mut session).await;
        assert!(down(&mut session).await.will_retry);
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_side_does_is_not_the_endpoints_fault() {
    let (nets, targets) = Nets::new([Net::accepting(), Net::accepting()]);
    // Closed at once, and dropped at once.
    let mut connection = nets.dial(&targets).await.unwrap();
    up(&mut connection).await;
    connection.close().await.unwrap();
    down(&mut connection).await;
    assert!(connection.next().await.is_none());
    drop(nets.dial(&targets).await.unwrap());
    assert!(!is_cooling(&targets, 0));

    // A dial that is cancelled.
    let (nets, targets) = Nets::new([Net::new(|_| Act::Hang), Net::accepting()]);
    let mut dial = Box::pin(nets.dial(&targets));
    assert!(is_pending(&mut dial));
    drop(dial);
    assert!(!is_cooling(&targets, 0));
    assert!(targets.endpoints()[0].last_failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_changes_nothing() {
    let busy = status(503).with_retry_after(RetryAfter::Delay(SECOND * 100));
    for failure in [refused(), status(403), busy] {
        let (nets, targets) = Nets::new([refusing(failure.clone())]);
        let seen = nets.dial(&targets).await.err().unwrap();
        assert_eq!(
            (seen.disposition(), seen.retry_after()),
            (failure.disposition(), failure.retry_after())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_cool_down_all_are_tried_all_the_same() {
    let (nets, targets) = Nets::new([refusing(status(403)), refusing(status(403))]);
    let layer = FailoverLayer::new().cool_down(Duration::ZERO);
    let mut service = layer.layer(nets.clone());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let error = service
            .ready()
            .await
            .unwrap()
            .call(targets.clone())
            .await
            .err()
            .unwrap();
        seen.push(error.disposition());
    }
    assert_eq!(seen, [Disposition::Immediately, Disposition::Final]);
    assert_eq!(nets.dials(), [1, 1]);
}

#[test]
fn targets_cross_threads_and_keep_their_secrets() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Targets<String>>();
    shared::<FailoverLayer>();
    let targets = Targets::new("wss://user:secret@example", []);
    assert!(!format!("{targets:?}").contains("secret"));
}
