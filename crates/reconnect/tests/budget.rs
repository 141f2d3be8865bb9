//! A budget that the sessions of a process share.

mod support;

use std::{num::NonZeroU32, time::Duration};

use futures_util::{FutureExt, StreamExt};
use support::{Act, Net, down, is_pending, refused, up};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_ws_core::{Event, Failure};
use tower_ws_reconnect::{Budget, Decision, History, ReconnectLayer, State};

const SECOND: Duration = Duration::from_secs(1);

fn budget(dials: u32, per: Duration) -> Budget {
    Budget::new(NonZeroU32::new(dials).expect("is not zero"), per)
}

/// The most dials within any time of this length.
fn most(dials: &[Instant], window: Duration) -> usize {
    let within = |start: &Instant| {
        dials
            .iter()
            .filter(|dial| *start <= **dial && **dial < *start + window)
            .count()
    };
    dials.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sessions_and_one_drop() {
    const SESSIONS: usize = 1_000;
    const DIALS: usize = 50;
    let outage = Instant::now() + SECOND * 60;
    let net = Net::new(move |_| match outage.checked_duration_since(Instant::now()) {
        Some(left) => Act::Drop(left, None),
        None => Act::Accept,
    });
    let budget = budget(DIALS as u32, SECOND);
    let mut sessions = JoinSet::new();
    for seed in 0..SESSIONS {
        let (net, layer) = (net.clone(), ReconnectLayer::new().seed(seed as u64));
        let layer = layer.budget(budget.clone());
        sessions.spawn(async move {
            let mut session = net.session(layer).await.unwrap();
            up(&mut session).await;
            down(&mut session).await;
            up(&mut session).await;
            session
        });
    }
    let up = sessions.join_all().await;
    assert_eq!((up.len(), net.alive()), (SESSIONS, SESSIONS));
    let dials = net.dials();
    assert_eq!(dials.len(), 2 * SESSIONS);
    assert!(most(&dials, SECOND) <= DIALS + 1, "{}", most(&dials, SECOND));
    assert!(most(&dials, SECOND / 10) <= DIALS / 10 + 1);
    // Nor is it slower than it must be.
    assert!(
        outage.elapsed() <= SECOND * (SESSIONS / DIALS) as u32 + SECOND * 2,
        "{:?}",
        outage.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn it_holds_on_every_path() {
    let budget = budget(1, SECOND * 3);
    let net = Net::new(|n| match n % 3 {
        0 => Act::Drop(Duration::ZERO, None),
        1 => Act::Drop(SECOND * 6, None),
        _ => Act::Refuse(refused()),
    });
    let mut sessions = JoinSet::new();
    for seed in 0..9 {
        let (layer, handle) = ReconnectLayer::pair();
        let eager = seed % 3 == 0;
        let layer = layer.seed(seed).budget(budget.clone());
        let net = net.clone();
        sessions.spawn(async move {
            if eager {
                let now = |_: &Failure, _: &History| Decision::RetryAfter(Duration::ZERO);
                let mut session = net.session(layer.policy(now)).await.unwrap();
                while session.next().await.is_some() {}
            } else {
                let mut session = net.session(layer).await.unwrap();
                while session.next().await.is_some() {}
            }
        });
        if seed % 3 == 1 {
            sessions.spawn(async move {
                loop {
                    handle.reconnect_now();
                    sleep(SECOND / 100).await;
                }
            });
        }
    }
    sleep(SECOND * 300).await;
    let dials = net.dials();
    assert!((80..=101).contains(&dials.len()), "{}", dials.len());
    assert!(most(&dials, SECOND * 3) <= 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_how_long() {
    let budget = budget(1, SECOND * 10);
    let net = Net::accepting();
    let _first = net.session(ReconnectLayer::new().budget(budget.clone())).await.unwrap();
    let (layer, handle) = ReconnectLayer::pair();
    let mut transitions = handle.transitions();
    let mut second = Box::pin(net.session(layer.budget(budget)));
    assert!(is_pending(&mut second));
    let told = match &*handle.state().borrow() {
        State::BackingOff {
            attempt: 1,
            until,
            cause,
            ..
        } => {
            assert!(cause.to_string().contains("budget"), "{cause}");
            *until
        }
        state => panic!("{state:?}"),
    };
    assert_eq!(transitions.try_recv().unwrap().delay, Some(told - Instant::now()));
    // Asking for more does not help, and tells nothing new.
    for _ in 0..10 {
        handle.reconnect_now();
        assert!(is_pending(&mut second));
    }
    assert!(transitions.is_empty());
    second.await.unwrap();
    assert_eq!(net.dials()[1], told);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_holds_up_nobody() {
    let budget = budget(1, SECOND * 10);
    let net = Net::accepting();
    let session = |layer: ReconnectLayer| Box::pin(net.session(layer.budget(budget.clone())));
    session(ReconnectLayer::new()).await.unwrap();
    for _ in 0..5 {
        // Dropped, and taken offline.
        assert!(is_pending(session(ReconnectLayer::new())));
    }
    let (layer, handle) = ReconnectLayer::pair();
    let mut offline = session(layer);
    assert!(is_pending(&mut offline));
    handle.go_offline();
    assert!(is_pending(&mut offline));
    session(ReconnectLayer::new()).await.unwrap();
    let dials = net.dials();
    assert_eq!(dials.len(), 2);
    assert!(dials[1] - dials[0] <= SECOND * 10, "{:?}", dials[1] - dials[0]);
    // Back online, it takes its turn.
    handle.go_online();
    offline.await.unwrap();
    assert!(most(&net.dials(), SECOND * 10) <= 2);
}

#[tokio::test(start_paused = true)]
async fn slots_that_were_slept_through_make_no_burst() {
    let budget = budget(1, SECOND);
    let net = Net::accepting();
    let mut waiting: Vec<_> = (0..20)
        .map(|seed| Box::pin(net.session(ReconnectLayer::new().seed(seed).budget(budget.clone()))))
        .collect();
    let mut up = 0;
    for session in &mut waiting {
        up += usize::from(!is_pending(session));
    }
    assert_eq!(up, 1);
    // Nobody is polled until all their times have passed.
    sleep(SECOND * 60).await;
    futures_util::future::join_all(waiting.into_iter().skip(1)).await;
    assert!(most(&net.dials(), SECOND) <= 2, "{:?}", net.dials());
}

#[tokio::test(start_paused = true)]
async fn alone_it_makes_no_difference() {
    async fn dials(layer: ReconnectLayer) -> Vec<Duration> {
        let start = Instant::now();
        let net = Net::new(|n| {
            if n % 4 == 0 {
                Act::Accept
            } else {
                Act::Refuse(refused())
            }
        });
        let mut session = net.session(layer.seed(7)).await.unwrap();
        for _ in 0..3 {
            up(&mut session).await;
            net.peer().end(None);
            down(&mut session).await;
            assert!(
                session
                    .next()
                    .now_or_never()
                    .is_none_or(|event| matches!(event, Some(Event::Up(_))))
            );
        }
        net.dials().iter().map(|dial| *dial - start).collect()
    }
    let with = dials(ReconnectLayer::new().budget(budget(10, SECOND))).await;
    assert_eq!(with, dials(ReconnectLayer::new()).await);
}
