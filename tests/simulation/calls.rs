//! A client that calls, notifies and listens, whatever happens.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Request,
    core::Replay,
    health::HealthLayer,
    subscribe::{JsonRpc, SubscribeLayer},
    transport::JsonText,
};

use crate::{
    RECOVERS,
    bounds::Bounds,
    dial::{STANDBY_URL, URL, Wall, auth, connector},
    faults::Plan,
    subscription,
    world::{End, World},
};

pub(crate) async fn run(world: World, plan: Plan) {
    let mut rng = Rng::with_seed(world.seed() ^ 0xca11);
    let (subscribe, subscriptions) = SubscribeLayer::pair(JsonRpc::new(JsonText));
    let builder = match plan.has_standby {
        true => tower_ws::builder(URL).fallback(STANDBY_URL),
        false => tower_ws::builder(URL),
    };
    let (client, mut inbound) = builder
        .connector(connector(&world))
        .queue(plan.queue())
        .health(HealthLayer::new().clock(Wall(world.clone())))
        .auth(auth(&world))
        .subscribe(subscribe)
        .connect()
        .await
        .unwrap();
    let Some(Incoming::Up(up)) = inbound.next().await else {
        panic!("the first item is `Up`");
    };
    let bounds = Bounds::watch(&up, &plan);
    let subscription = plan.subscribes.then(|| subscription::begin(&subscriptions));
    let listener = tokio::spawn(listen(inbound));
    let teller = tokio::spawn(tell(world.clone(), client.clone(), rng.fork(), plan.calm_from));
    let callers = (0..plan.callers).map(|_| call(world.clone(), client.clone(), rng.fork(), plan.calm_from));
    let callers: Vec<_> = callers.map(tokio::spawn).collect();
    sleep(plan.calm_from.saturating_sub(turmoil::elapsed())).await;

    // Whatever came before: from here on a call is answered, within a bound.
    let calm = Instant::now();
    let probe = async {
        loop {
            let number = world.number(true);
            let request = request("read", number, Replay::Safe).timeout(Duration::from_secs(5));
            let result = client.send(request).await.map(drop);
            assert!(
                !matches!(result, Err(CallError::Closed(_))),
                "the session is over: {result:?}"
            );
            let end = end_of(result);
            world.ended(number, end);
            if end == End::Answered {
                return;
            }
            // A queue without room refuses at once.
            sleep(Duration::from_secs(1)).await;
        }
    };
    let answered = timeout(RECOVERS, probe).await;
    assert!(answered.is_ok(), "no answer {RECOVERS:?} after the last fault");
    world.open().recovered = Some(calm.elapsed());
    if let Some(mut heard) = subscription {
        heard.borrow_and_update();
        let again = timeout(RECOVERS.saturating_sub(calm.elapsed()), heard.changed()).await;
        assert!(again.is_ok_and(|heard| heard.is_ok()), "the subscription is silent");
    }
    // And all that waits ends within its own limits.
    let done = timeout(Duration::from_secs(70), async {
        join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
        teller.await.unwrap();
    });
    done.await.expect("the callers are done");
    bounds.drained().await;
    client.close(Duration::from_secs(5)).await;
    timeout(Duration::from_secs(10), listener)
        .await
        .expect("the stream ends")
        .unwrap();
}

async fn listen(mut inbound: Inbound) {
    let (mut up, mut missed) = (true, 0);
    while let Some(item) = inbound.next().await {
        match item {
            Incoming::Up(_) => assert!(!std::mem::replace(&mut up, true), "two connections at once"),
            Incoming::Down(down) => assert!(std::mem::replace(&mut up, false) || !down.will_retry, "down without up"),
            Incoming::Gap { missed: more } => missed += more,
            _ => {}
        }
    }
    // As fast as it reads nothing may be missing but in a burst.
    assert!(missed < 20_000, "{missed} pushes are missing");
}

fn request(method: &'static str, number: u64, replay: Replay) -> Request {
    Request::new(method).params(&[number]).unwrap().replay(replay)
}

fn end_of(result: Result<(), CallError>) -> End {
    match result {
        Ok(()) => End::Answered,
        Err(CallError::Rpc(error)) => panic!("the server has no errors: {error}"),
        Err(error) if error.may_have_been_seen() => End::Unknown,
        Err(_) => End::Unsent,
    }
}

/// Calls, one after the other, until all is well.
async fn call(world: World, client: Client, mut rng: Rng, until: Duration) {
    while turmoil::elapsed() < until {
        let safe = rng.bool();
        let number = world.number(safe);
        let (method, replay) = if safe {
            ("read", Replay::Safe)
        } else {
            ("write", Replay::Unsafe)
        };
        let limit = Duration::from_secs(rng.choice([1, 10, 60]).unwrap());
        let patience = match rng.u8(0..10) {
            0 => Duration::from_millis(rng.u64(0..2_000)),
            _ => Duration::MAX,
        };
        let began = Instant::now();
        let answer = timeout(patience, client.send(request(method, number, replay).timeout(limit))).await;
        let took = began.elapsed();
        assert!(
            took <= limit + Duration::from_secs(1),
            "call {number} took {took:?} and had {limit:?}"
        );
        let end = match answer {
            Ok(result) => end_of(result.and_then(|reply| {
                assert_eq!(reply.result::<u64>()?, number, "somebody else's answer");
                Ok(())
            })),
            Err(_) => End::Cancelled,
        };
        world.ended(number, end);
        sleep_until(Instant::now() + Duration::from_millis(rng.u64(0..500))).await;
    }
}

/// Says something now and then that needs no answer, one after the other.
async fn tell(world: World, client: Client, mut rng: Rng, until: Duration) {
    while turmoil::elapsed() < until {
        let number = world.number(false);
        let end = match client.notify(request("say", number, Replay::Unsafe)).await {
            Ok(()) => End::Taken,
            Err(error) if error.may_have_been_seen() => End::Unknown,
            Err(_) => End::Unsent,
        };
        world.ended(number, end);
        sleep(Duration::from_millis(rng.u64(0..1_000))).await;
    }
}
