//! A client whose messages the server acknowledges, in one of the modes: whoever sends waits until it has.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Message,
    ack::{AckLayer, Bare},
    health::HealthLayer,
    messages::{Event, MessagesLayer, Sender},
    reconnect::ReconnectLayer,
    transport::TransportLayer,
};

use crate::{
    RECOVERS,
    bounds::{Bounds, WINDOW},
    dial::{URL, Wall, auth, connector},
    faults::{Mode, Plan},
    messages::{LIMIT, end_of, listen},
    world::{End, World},
};

pub(crate) async fn run(world: World, plan: Plan, mode: Mode) {
    world.open().remembers = mode == Mode::EffectOnce;
    let strategy = Bare::new(
        |said: &Message| number(said, "confirm"),
        |heard: &Message| number(heard, "confirmed"),
    );
    let strategy = match mode {
        Mode::AtMostOnce => strategy,
        Mode::AtLeastOnce | Mode::EffectOnce => strategy.all_safe(),
    };
    let stack = ServiceBuilder::new()
        .layer(
            MessagesLayer::new()
                .only(Message::is_data)
                .acknowledged()
                .timeout(LIMIT),
        )
        .layer(plan.queue())
        .layer(AckLayer::new(strategy).window(WINDOW, usize::MAX))
        .layer(ReconnectLayer::new())
        .layer(HealthLayer::new().clock(Wall(world.clone())))
        .layer(auth(&world))
        .layer(TransportLayer::new())
        .service(connector(&world));
    let request = http::Request::get(URL).body(()).unwrap();
    let (sender, mut events) = stack.oneshot(request).await.unwrap();
    let Some(Event::Up(up)) = events.next().await else {
        panic!("the first event is `Up`");
    };
    let bounds = Bounds::watch(&up, &plan);
    let listener = tokio::spawn(listen(events));
    let mut rng = Rng::with_seed(world.seed() ^ 0xac4e);
    // At least once, a message may come twice; who remembers applies it once all the same.
    let safe = mode == Mode::AtLeastOnce;
    let tellers = (0..plan.callers).map(|_| tell(world.clone(), sender.clone(), rng.fork(), plan.calm_from, safe));
    let tellers: Vec<_> = tellers.map(tokio::spawn).collect();
    join_all(tellers).await.into_iter().for_each(|teller| teller.unwrap());

    let calm = Instant::now();
    let probe = async {
        while send(&world, &sender, safe).await != End::Answered {
            // A queue without room refuses at once.
            sleep(Duration::from_secs(1)).await;
        }
    };
    let answered = timeout(RECOVERS, probe).await;
    assert!(
        answered.is_ok(),
        "nothing is acknowledged {RECOVERS:?} after the last fault"
    );
    world.open().recovered = Some(calm.elapsed());
    bounds.drained().await;
    sender.close(Duration::from_secs(5)).await;
    timeout(Duration::from_secs(10), listener)
        .await
        .expect("the stream ends")
        .unwrap();
}

async fn tell(world: World, sender: Sender<Message>, mut rng: Rng, until: Duration, safe: bool) {
    while turmoil::elapsed() < until {
        let began = Instant::now();
        send(&world, &sender, safe).await;
        let took = began.elapsed();
        assert!(took <= LIMIT + Duration::from_secs(1), "a message took {took:?}");
        sleep(Duration::from_millis(rng.u64(0..500))).await;
    }
}

async fn send(world: &World, sender: &Sender<Message>, safe: bool) -> End {
    let number = world.number(safe);
    let text = serde_json::json!({ "confirm": number }).to_string();
    let result = sender.send_confirmed(Message::text(text)).await;
    let over = result
        .as_ref()
        .is_err_and(|error| matches!(error.reason(), tower_ws::messages::Reason::Closed(_)));
    assert!(!over, "the session is over: {result:?}");
    let end = end_of(result);
    world.ended(number, end);
    end
}

/// The number under this name.
fn number(message: &Message, name: &str) -> Option<u64> {
    let said: serde_json::Value = serde_json::from_str(message.as_text()?).ok()?;
    said.get(name)?.as_u64()
}
