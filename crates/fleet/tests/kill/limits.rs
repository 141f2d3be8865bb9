//! Eight processes that want more than a limit allows: together they get no more, and hardly less.

use std::{
    num::NonZeroU32,
    process::Stdio,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::{process::Command, time::timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::Lift;
use tower_ws_fleet::{Fleet, WhenDown};
use tower_ws_rate_limit::{Quota, RateLimitLayer};
use tower_ws_test_kit::Postgres;
use tower_ws_transport::memory;

const PROCESSES: usize = 8;
/// How many of each process want to pass at a time.
const CALLERS: usize = 8;
const BURST: u32 = 20;

/// Passes as often as it may for so long, and prints when, in microseconds of wall time.
pub(crate) async fn pass(url: &str, rate: &str, seconds: &str) {
    let fleet = Fleet::new(url.parse().unwrap(), "limits");
    let most: NonZeroU32 = rate.parse().unwrap();
    let quota = Quota::per_second(most).burst(BURST.try_into().unwrap());
    let limit = RateLimitLayer::new().dials(fleet.limiter(rate, quota, WhenDown::Wait));
    let length = Duration::from_secs(seconds.parse().unwrap());
    let callers = (0..CALLERS).map(|_| {
        let limit = limit.clone();
        tokio::spawn(async move {
            let mut passed = Vec::new();
            let passes = async {
                loop {
                    let dial = service_fn(|()| {
                        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                        passed.push(now.unwrap().as_micros());
                        std::future::ready(Ok::<_, std::io::Error>(Lift::<_, String>::new(
                            memory::pair::<String>(1).0,
                        )))
                    });
                    limit.layer(dial).oneshot(()).await.unwrap();
                }
            };
            let _: Result<(), _> = timeout(length, passes).await;
            passed
        })
    });
    for passed in join_all(callers).await {
        passed.unwrap().iter().for_each(|at| println!("{at}"));
    }
}

pub(crate) async fn prove(server: &Postgres, seconds: u64) {
    let url = server.url();
    Fleet::new(url.parse().unwrap(), "limits").migrate().await.unwrap();
    for rate in [50, 200, 1_000] {
        let processes = (0..PROCESSES).map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["limit", &url, &rate.to_string(), &seconds.to_string()]);
            command.kill_on_drop(true).stdin(Stdio::null()).output()
        });
        let mut times = Vec::new();
        for output in join_all(processes).await {
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            times.extend(text.lines().map(|at| at.parse::<u64>().unwrap()));
        }
        times.sort_unstable();
        let took = (times[times.len() - 1] - times[0]) as f64 / 1e6;
        let passed = times.len() as f64 / took;
        let most = over(&times, f64::from(rate));
        println!("{rate} a second: {passed:.1} a second in {took:.1} s, {most:.1} above burst + rate x t at most");
        // Of all of it. A shorter stretch has more where the machine stood still for a moment: what
        // is late comes together with what is in time.
        let allowed = f64::from(BURST) + f64::from(rate) * took * 1.01 + PROCESSES as f64;
        let all = times.len();
        assert!(
            all as f64 <= allowed,
            "{all}, and {allowed} would be a hundredth more, and one each"
        );
        assert!(passed >= f64::from(rate) * 0.8, "far less than what is allowed");
    }
}

/// By how many any stretch of time has more than the burst and the rate.
fn over(times: &[u64], rate: f64) -> f64 {
    let at = |n: usize| times[n] as f64 / 1e6 * rate;
    // The largest of n - m + 1 - burst - rate * (t(n) - t(m)).
    let (mut most, mut low) = (f64::MIN, f64::MIN);
    for n in 0..times.len() {
        low = low.max(at(n) - n as f64);
        most = most.max(n as f64 - at(n) + low + 1.0 - f64::from(BURST));
    }
    most
}
