//! The numbers of a session, as Prometheus collects them.
//!
//! A server answers, crashes, refuses and falls silent; a client calls it now and then. Meanwhile
//! `http://127.0.0.1:9464/metrics` shows the numbers, and at the end the program prints some of
//! them. The dashboard and the alerts beside this file are made of the same names.
//!
//! ```text
//! cargo run --example prometheus            # 20 s
//! cargo run --example prometheus -- 600     # for as long as you want to look at it
//! ```

use std::{env, error::Error, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{Instant, interval, sleep};
use tower_ws::{
    Client, Request, client::ClientLayer, core::Replay, health::HealthLayer, queue::QueueLayer, transport::JsonText,
};
use tower_ws_test_kit::{Cut, Script, Server};

/// What the server does when nothing is wrong with it.
const ANSWER: Script = Script::JsonRpc {
    delay: Duration::from_millis(20),
};

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(20), |seconds| seconds.parse())?;
    let end = Instant::now() + Duration::from_secs(seconds);

    // First the recorder, then the stack: layers look their metrics up when they are built.
    let numbers = record()?;
    println!("numbers at http://{ADDRESS}/metrics for {seconds} s");

    let server = Server::start(ANSWER).await?;
    let (client, mut inbound) = tower_ws::builder(server.url())
        .metrics_label("server", "orders")
        .client(ClientLayer::new(JsonText).timeout(Duration::from_secs(8)))
        .queue(QueueLayer::new().age(Duration::from_secs(5)))
        .health(
            HealthLayer::new()
                .interval(Duration::from_secs(1))
                .timeout(Duration::from_secs(1)),
        )
        .connect()
        .await?;
    tokio::spawn(async move { while inbound.next().await.is_some() {} });

    tokio::select! {
        () = call_now_and_then(&client) => {}
        () = misbehave(&server) => {}
        () = tokio::time::sleep_until(end) => {}
    }
    client.close(Duration::from_secs(1)).await;
    for line in numbers.render().lines().filter(|line| is_telling(line)) {
        println!("{line}");
    }
    Ok(())
}

/// Installs the recorder, with buckets: what its default makes of histograms cannot be added up
/// over processes.
fn record() -> Result<PrometheusHandle, Box<dyn Error>> {
    let buckets = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
        86400.0,
    ];
    let builder = PrometheusBuilder::new()
        .with_http_listener(ADDRESS)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets)?;
    let (recorder, exporter) = builder.build()?;
    let numbers = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    tokio::spawn(exporter);
    Ok(numbers)
}

/// Calls for four seconds, and rests for two: health asks only in silence.
async fn call_now_and_then(client: &Client) {
    let mut calls = FuturesUnordered::new();
    let mut turns = interval(Duration::from_millis(10));
    let mut n = 0_u64;
    loop {
        tokio::select! {
            _ = turns.tick() => {
                n += 1;
                if n % 600 >= 400 {
                    continue;
                }
                // Every other call may be made twice.
                let replay = if n.is_multiple_of(2) { Replay::Safe } else { Replay::Unsafe };
                calls.push(client.send(Request::new("echo").replay(replay)));
            }
            Some(_) = calls.next() => {}
        }
    }
}

/// Every few seconds something else.
async fn misbehave(server: &Server) {
    loop {
        sleep(Duration::from_secs(6)).await;
        server.cut(Cut::Rst);
        sleep(Duration::from_secs(6)).await;
        server.play_each([Script::status(503, &[]), ANSWER]);
        server.close(1001, "going away");
        sleep(Duration::from_secs(12)).await;
        server.freeze();
        sleep(Duration::from_secs(3)).await;
        server.thaw();
    }
}

fn is_telling(line: &str) -> bool {
    let telling = [
        "tower_ws_session_up{",
        "tower_ws_session_reconnects_total",
        "tower_ws_session_outage_seconds_sum",
        "tower_ws_connection_dials_total",
        "tower_ws_ack_settled_total",
        "tower_ws_ack_resent_total",
        "tower_ws_health_rtt_seconds_count",
    ];
    telling.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
}
