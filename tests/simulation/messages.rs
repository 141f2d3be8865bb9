//! A client that sends plain messages, and accounts for each.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};
use tower_ws::{
    Message,
    health::HealthLayer,
    messages::{Event, Events, Outcome, Reason, Sender},
};

use crate::{
    RECOVERS,
    bounds::Bounds,
    dial::{URL, Wall, auth, connector},
    faults::Plan,
    world::{End, World},
};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn run(world: World, plan: Plan) {
    let rng = Rng::with_seed(world.seed() ^ 0x5a1d);
    let (sender, mut events) = tower_ws::builder(URL)
        .connector(connector(&world))
        .health(HealthLayer::new().clock(Wall(world.clone())))
        .auth(auth(&world))
        .queue(plan.queue())
        .messages()
        .timeout(LIMIT)
        .connect()
        .await
        .unwrap();
    let Some(Event::Up(up)) = events.next().await else {
        panic!("the first event is `Up`");
    };
    let bounds = Bounds::watch(&up, &plan);
    let listener = tokio::spawn(listen(events));
    let teller = tokio::spawn(tell(world.clone(), sender.clone(), rng, plan.calm_from));
    teller.await.unwrap();

    let calm = Instant::now();
    let probe = async {
        loop {
            let number = world.number(false);
            let result = sender.send_confirmed(number.to_string()).await;
            let over = result
                .as_ref()
                .is_err_and(|error| matches!(error.reason(), Reason::Closed(_)));
            assert!(!over, "the session is over: {result:?}");
            world.ended(number, end_of(result));
            // Written is not read: a peer that has vanished takes no less. Wait for what it applied.
            sleep(Duration::from_secs(8)).await;
            if world.open().applied.contains_key(&number) {
                return;
            }
        }
    };
    let arrived = timeout(RECOVERS, probe).await;
    assert!(arrived.is_ok(), "nothing arrives {RECOVERS:?} after the last fault");
    world.open().recovered = Some(calm.elapsed());
    bounds.drained().await;
    sender.close(Duration::from_secs(5)).await;
    timeout(Duration::from_secs(10), listener)
        .await
        .expect("the stream ends")
        .unwrap();
}

pub(crate) async fn listen(mut events: Events<Message>) {
    let mut up = true;
    while let Some(event) = events.next().await {
        match event {
            Event::Up(_) => assert!(!std::mem::replace(&mut up, true), "two connections at once"),
            Event::Down(down) => assert!(std::mem::replace(&mut up, false) || !down.will_retry, "down without up"),
            _ => {}
        }
    }
}

pub(crate) fn end_of<E>(result: Result<Outcome, tower_ws::messages::SendError<E>>) -> End {
    match result {
        Ok(Outcome::Acknowledged) => End::Answered,
        Ok(_) => End::Taken,
        Err(error) if error.may_have_been_seen() => End::Unknown,
        Err(_) => End::Unsent,
    }
}

async fn tell(world: World, sender: Sender<Message>, mut rng: Rng, until: Duration) {
    while turmoil::elapsed() < until {
        let number = world.number(false);
        let began = Instant::now();
        let end = match rng.bool() {
            true => end_of(sender.send_confirmed(number.to_string()).await),
            false => end_of(sender.send(number.to_string()).await.map(|()| Outcome::Taken)),
        };
        let took = began.elapsed();
        assert!(took <= LIMIT + Duration::from_secs(1), "message {number} took {took:?}");
        world.ended(number, end);
        sleep(Duration::from_millis(rng.u64(0..300))).await;
    }
}
