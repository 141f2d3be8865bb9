//! What is logged, as those who search for it know it: targets, levels, texts and fields.
//!
//! Alone in its process: other tests' subscribers would interfere.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use support::{SECOND, bounded, eager, impatient, millis};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Request,
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    connector::tcp_connector,
    core::Replay,
    health::HealthLayer,
    metrics::MetricsLayer,
    queue::QueueLayer,
    transport::JsonText,
};
use tower_ws_test_kit::{Cut, Script, Server};
use tracing::{Event, Id, Metadata, Subscriber, field::Field, span};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

const EXPECTED: &str = include_str!("logs.txt");

/// One line for each kind of span and event that was seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeSet<String>>>);

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Seen {
    fn line(&self, sort: &str, metadata: &Metadata<'_>, text: &str, within: &[&str]) {
        let target = metadata.target();
        if !target.starts_with("tower_ws") || target.starts_with("tower_ws_test_kit") {
            return;
        }
        let fields: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        let fields: Vec<_> = fields.into_iter().filter(|name| *name != "message").collect();
        let within = match within {
            [] => String::new(),
            spans => format!(" in {}", spans.join(" > ")),
        };
        let line = format!(
            "{:<5} {sort} {}: {text} [{}]{within}",
            metadata.level(),
            metadata.target(),
            fields.join(" ")
        );
        self.0.lock().unwrap().insert(line);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let metadata = attributes.metadata();
        self.line("span ", metadata, metadata.name(), &[]);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let scope = context.event_scope(event).into_iter();
        let within: Vec<_> = scope
            .flat_map(tracing_subscriber::registry::Scope::from_root)
            .map(|span| span.name())
            .collect();
        self.line("event", event.metadata(), &text.0, &within);
    }
}

async fn session(url: String) -> (Client, Inbound) {
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText).timeout(10 * SECOND).close_grace(SECOND))
        .layer(MetricsLayer::session())
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(eager().refusals_final_after(SECOND))
        .layer(MetricsLayer::connection())
        .layer(HealthLayer::new().interval(millis(200)).timeout(millis(300)))
        .layer(impatient())
        .service(tcp_connector());
    let target = http::Request::get(url).body(()).unwrap();
    bounded(stack.oneshot(target)).await.unwrap()
}

async fn wait_for(inbound: &mut Inbound, wanted: fn(&Incoming) -> bool) {
    while !wanted(&bounded(inbound.next()).await.expect("it ended")) {}
}

/// What the README says is logged, is logged.
#[test]
fn the_readme_quotes_what_is_logged() {
    let readme = include_str!("../README.md");
    let table = readme.split("## What happens when").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut quoted = 0;
    for quote in table.split('`') {
        let Some((level @ ("DEBUG" | "INFO" | "WARN" | "ERROR"), text)) = quote.split_once(' ') else {
            continue;
        };
        quoted += 1;
        let is_it = |line: &str| line.starts_with(level) && line.contains(&format!(": {text} ["));
        // The sample of a whole line has its fields besides.
        let is_sample = text.contains("epoch=");
        assert!(is_sample || EXPECTED.lines().any(is_it), "{quote}");
    }
    assert!(quoted >= 6, "{quoted}");
}

#[tokio::test]
async fn targets_levels_texts_and_fields_are_those_written_down() {
    let seen = Seen::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()));
    let is_up = |item: &Incoming| matches!(item, Incoming::Up(_));
    let is_down = |item: &Incoming| matches!(item, Incoming::Down(_));

    // A server that is not there at first, answers, crashes amid a call, comes back, and falls
    // silent for good.
    let server = Server::start(Script::json_rpc()).await.unwrap();
    server.play_each([
        Script::CutBeforeReply(Cut::Rst),
        Script::Flaky {
            answers: 1,
            cut: Cut::Rst,
        },
        Script::json_rpc(),
        Script::Silent,
        Script::status(404, &[]),
    ]);
    let (client, mut inbound) = session(server.url()).await;
    wait_for(&mut inbound, is_up).await;
    assert_eq!(client.request::<_, u8>("echo", &7).await.unwrap(), 7);
    let lost = client.send(Request::new("echo").replay(Replay::Unsafe)).await;
    assert!(matches!(lost, Err(CallError::Interrupted(_))), "{lost:?}");
    wait_for(&mut inbound, is_up).await;
    // It makes no sense; health asks; the connection is lost; the next one is silent; the last are
    // refused until that is final.
    server.push(tower_ws::Message::text("what?"));
    server.push(tower_ws::Message::text(r#"{"jsonrpc":"2.0","id":99999,"result":1}"#));
    client.request::<_, u8>("echo", &7).await.unwrap();
    server.cut(Cut::Fin);
    wait_for(&mut inbound, is_up).await;
    wait_for(&mut inbound, is_down).await;
    while bounded(inbound.next()).await.is_some() {}

    // One that is closed in order.
    server.play(Script::json_rpc());
    let (client, _inbound) = session(server.url()).await;
    client.close(SECOND).await;

    let actual: Vec<_> = seen.0.lock().unwrap().iter().cloned().collect();
    let actual = actual.join("\n") + "\n";
    assert!(
        actual == EXPECTED,
        "tests/logs.txt differs. If that is meant, alerts on logs break: say so in the changelog, and write\n{actual}"
    );
}
