//! However a server sends its clients away, and whoever asks to come back: few dials.

mod support;

use std::{io, time::Duration};

use futures_util::{StreamExt, future::select};
use support::{Act, Net, closed, refused, status};
use tokio::time::sleep;
use tower_ws_core::{Disposition, Failure, FailureKind, RetryAfter};
use tower_ws_reconnect::{Decision, Handle, History, Policy, ReconnectLayer};

const SOON: Duration = Duration::from_millis(5);
const SEEDS: u64 = 50;

/// How many dials there are in the first ten seconds.
async fn dials<P: Policy + Clone>(layer: ReconnectLayer<P>, act: Act, handle: Option<(Handle, fn(&Handle))>) -> usize {
    let net = Net::new(move |_| act.clone());
    let session = async {
        if let Ok(mut session) = net.session(layer).await {
            while session.next().await.is_some() {}
        }
        std::future::pending::<()>().await;
    };
    let nagging = async {
        let Some((handle, nag)) = handle else {
            return std::future::pending().await;
        };
        loop {
            nag(&handle);
            sleep(Duration::from_millis(1)).await;
        }
    };
    let window = async {
        select(Box::pin(sleep(Duration::from_secs(10))), Box::pin(nagging)).await;
    };
    select(Box::pin(window), Box::pin(session)).await;
    let dials = net.dials();
    assert!(
        dials.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)),
        "{dials:?}"
    );
    dials.len()
}

async fn most_dials(act: Act) -> usize {
    let mut most = 0;
    for seed in 0..SEEDS {
        most = most.max(dials(ReconnectLayer::new().seed(seed), act.clone(), None).await);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn accept_then_drop() {
    let reset = Failure::of(io::Error::from(io::ErrorKind::ConnectionReset));
    let ways = [
        Some(closed(1000)),
        Some(closed(1001)),
        Some(closed(1006)),
        Some(closed(1011)),
        Some(reset),
        None,
    ];
    for way in ways {
        let most = most_dials(Act::Drop(SOON, way.clone())).await;
        assert!((3..=6).contains(&most), "{most} dials after {way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_then_drop_after_a_while() {
    // As long as the first delays: who takes that for health makes a loop of it.
    for millis in [0, 500, 1_000, 2_000, 4_000, 4_999] {
        let most = most_dials(Act::Drop(Duration::from_millis(millis), None)).await;
        assert!(most <= 6, "{most} dials with {millis} ms between them");
    }
}

#[tokio::test(start_paused = true)]
async fn restarts_and_overload() {
    assert!(most_dials(Act::Drop(SOON, Some(closed(1012)))).await <= 2);
    assert_eq!(most_dials(Act::Drop(SOON, Some(closed(1013)))).await, 1);
}

#[tokio::test(start_paused = true)]
async fn refused_upgrades() {
    for code in [408, 429, 500, 502, 503, 504] {
        let most = most_dials(Act::Refuse(status(code))).await;
        assert!((3..=6).contains(&most), "{most} dials after {code}");
    }
    let busy = status(503).with_retry_after(RetryAfter::Delay(Duration::from_secs(30)));
    assert_eq!(most_dials(Act::Refuse(busy)).await, 1);
    assert_eq!(most_dials(Act::Refuse(status(403))).await, 1);
    assert!(most_dials(Act::Refuse(status(401))).await <= 2);
    assert!(most_dials(Act::Refuse(refused())).await <= 6);
}

#[tokio::test(start_paused = true)]
async fn a_policy_without_sense() {
    let layer = || ReconnectLayer::new().policy(|_: &Failure, _: &History| Decision::RetryAfter(Duration::ZERO));
    assert!(dials(layer(), Act::Refuse(refused()), None).await <= 6);
    assert!(dials(layer(), Act::Drop(SOON, None), None).await <= 6);
    // Without spacing there would be no end to it.
    let hurried = layer().min_spacing(Duration::ZERO);
    let net = Net::new(|n| if n < 100 { Act::Refuse(refused()) } else { Act::Accept });
    assert!(net.session(hurried).await.is_ok());
    let eager = Failure::new(FailureKind::Network, "again").with_disposition(Disposition::Immediately);
    assert!(most_dials(Act::Refuse(eager)).await <= 6);
}

#[tokio::test(start_paused = true)]
async fn a_hot_loop_of_commands() {
    let flap: fn(&Handle) = |handle| {
        handle.go_offline();
        handle.go_online();
    };
    let toggle: fn(&Handle) = |handle| {
        // Offline for the session to see, online one call later.
        static ODD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if ODD.fetch_xor(true, std::sync::atomic::Ordering::Relaxed) {
            handle.go_online();
        } else {
            handle.go_offline();
        }
    };
    for act in [
        Act::Accept,
        Act::Refuse(refused()),
        Act::Drop(SOON, Some(closed(1013))),
        Act::Hang,
    ] {
        for nag in [Handle::reconnect_now, flap, toggle] {
            let (layer, handle) = ReconnectLayer::pair();
            let dials = dials(layer, act.clone(), Some((handle, nag))).await;
            assert!((1..=6).contains(&dials), "{dials} dials, {act:?}");
        }
    }
}
