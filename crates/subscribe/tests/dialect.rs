//! A dialect of one's own, with numbers on top of it; a program that reads too slowly; and what is shown of all this.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use support::{Session, answer, ethereum, gone, news, read};
use tokio::time::Instant;
use tower_ws_core::DropReason;
use tower_ws_subscribe::{
    Dialect, Ended, Heard, Hears, Lag, Says, Sequenced, SubscribeError, SubscribeLayer, To, Update,
};
use tower_ws_transport::JsonText;

const SECOND: Duration = Duration::from_secs(1);

/// `+name` begins, `-name` ends, `name:number` is told, `!name` is over: by the least that a dialect has to say.
#[derive(Clone, Debug)]
struct Plain;

impl Dialect<String> for Plain {
    fn says(&self, message: &String) -> Says {
        match message.split_at_checked(1) {
            Some(("+", name)) => Says::Begins {
                request: None,
                names: vec![name.into()],
            },
            Some(("-", name)) => Says::Ends {
                request: None,
                names: vec![name.into()],
            },
            _ => Says::Other,
        }
    }
    fn hears<'m>(&self, message: &'m String) -> Hears<'m> {
        match (message.strip_prefix('!'), message.split_once(':')) {
            (Some(name), _) => Hears::Over(name.into()),
            (None, Some((name, _))) => Hears::Told(name.into()),
            _ => Hears::Other,
        }
    }
    fn answer(&self, _: &String) -> Result<Option<Box<str>>, String> {
        Err("the market is closed".to_owned())
    }
    fn numbered(&self, _: &String, _: u64) -> Option<String> {
        None
    }
    fn ending(&self, _: &String, names: &[Box<str>], _: Option<&str>, _: u64) -> Option<String> {
        Some(format!("-{}", names[0]))
    }
}

#[allow(
    clippy::ptr_arg,
    reason = "it is passed as it stands to what has messages of this type"
)]
fn number(message: &String) -> Option<u64> {
    message.split_once(':')?.1.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn the_least_that_a_dialect_says_is_enough() {
    let dialect = Sequenced::new(Plain, number as fn(&String) -> Option<u64>);
    assert_eq!(format!("{dialect:?}"), "Sequenced { dialect: Plain, .. }");
    // What it adds is the number; all else is as the dialect has it.
    assert_eq!(dialect.renamed(&"a:1".to_owned(), "b"), None);
    assert_eq!(dialect.only(&"+a".to_owned(), &["a".into()]), None);
    assert_eq!(Dialect::resume(&dialect, &"+a".to_owned(), 7), None);
    assert_eq!(
        (dialect.alias("a", 2), dialect.goes_on(), dialect.gives_names()),
        ("a#2".into(), false, false)
    );
    assert_eq!(
        (dialect.number(&"a:7".to_owned()), Plain.number(&"a:7".to_owned())),
        (Some(7), None)
    );
    assert_eq!((Plain.resume(&"+a".to_owned(), 7), Plain.goes_on()), (None, false));

    let (layer, handle) = SubscribeLayer::pair(dialect);
    let layer = layer.patience(2 * SECOND).measure(|_: &String| 10);
    let shown = format!("{layer:?}");
    assert!(
        shown.contains("patience: 2s") && shown.contains("standing: 0"),
        "{shown}"
    );
    let below = tower_ws_test_kit::ManualConnection::new();
    let mut session = tower_ws_core::Wrap::wrap(layer, below.clone());
    let mut trades = handle.subscribe("+trades".to_owned());
    let mut step = async || {
        while futures_util::FutureExt::now_or_never(session.next()).is_some() {}
    };
    below.up();
    step().await;
    assert_eq!(
        (below.sent(), handle.snapshot().bytes),
        (vec!["+trades".to_owned()], 10)
    );
    for told in ["trades:1", "trades:2", "trades:5"] {
        below.say(told.to_owned());
    }
    step().await;
    below.down(gone(), true);
    below.up();
    step().await;
    assert_eq!(below.sent(), ["+trades", "+trades"]);
    below.say("trades:1".to_owned());
    below.say("!trades".to_owned());
    step().await;
    let mut heard = Vec::new();
    while let Some(item) = trades.next().await {
        heard.push(match item {
            Heard::Item(message) => message,
            Heard::Update(update) => update.to_string(),
            other => panic!("{other:?}"),
        });
    }
    let expected = [
        "active",
        "trades:1",
        "trades:2",
        "numbers 3 to 4 are missing",
        "trades:5",
        "lost: gone",
        "active again after 0.0ns",
        "trades:1",
        // How it says that it is over may be of interest.
        "!trades",
        "over: the server has ended the subscription: \"the market is closed\"",
    ];
    assert_eq!(heard, expected);
}

/// Whoever reads too slowly learns how many are missing, by type as well.
#[tokio::test(start_paused = true)]
async fn what_is_not_read_in_time_is_counted() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut session = Session::begin(layer).await;
    let subscriber = handle.json_rpc(JsonText).inbox(2, Lag::DropOldest).timeout(5 * SECOND);
    let shown = format!("{subscriber:?}");
    assert!(shown.contains("room: 2") && shown.contains("timeout: 5s"), "{shown}");
    let refused = subscriber
        .subscribe::<u64>("s", &std::collections::BTreeMap::from([([1], 2)]), "u")
        .await;
    assert!(matches!(refused, Err(SubscribeError::Params(_))), "{refused:?}");

    let asking = tokio::spawn(async move { subscriber.subscribe::<u64>("eth_subscribe", &["x"], "u").await });
    tokio::task::yield_now().await;
    session.quiet().await;
    let said = session.heard_one();
    session.swallowed(answer(&said["id"], json!("0x1"))).await;
    let mut items = asking.await.unwrap().unwrap();
    for n in 1..=5 {
        session.swallowed(news(json!("0x1"), json!(n))).await;
    }
    assert!(format!("{items:?}").starts_with("Items(Subscription(Feed"), "{items:?}");
    // As a stream, too.
    let mut heard = Vec::new();
    while let Some(item) = futures_util::FutureExt::now_or_never(StreamExt::next(&mut items)) {
        heard.push(match item.unwrap() {
            Heard::Item(number) => number.to_string(),
            Heard::Skipped(missed) => format!("{missed} missing"),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(heard, ["3 missing", "4", "5"]);

    // Nobody answers: it ends for whoever asked, and is taken back.
    let subscriber = handle.json_rpc(JsonText).timeout(5 * SECOND);
    let began = Instant::now();
    let unanswered = subscriber.subscribe::<u64>("eth_subscribe", &["y"], "u").await;
    assert!(
        matches!(unanswered, Err(SubscribeError::Ended(Ended::TimedOut))),
        "{unanswered:?}"
    );
    assert_eq!(began.elapsed(), 5 * SECOND);
    let mut other = handle.subscribe(support::subscribe(0, "z").to_string());
    session.quiet().await;
    assert!(read(&mut other).await.is_empty());
}

#[test]
fn updates_are_sentences_and_no_name_is_shown() {
    let (at, why) = (Instant::now(), gone());
    let updates = [
        (Update::Active, "active"),
        (Update::Lost { at, why }, "lost: gone"),
        (Update::Missed { first: 3, last: 3 }, "number 3 is missing"),
        (Update::Missed { first: 3, last: 5 }, "numbers 3 to 5 are missing"),
        (
            Update::Ended(Ended::NotSent(DropReason::Expired)),
            "over: the subscription could not be said",
        ),
    ];
    for (update, text) in updates {
        assert_eq!(update.to_string(), text);
    }
    let name = "orders of hunter2";
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        Says::Other,
        Says::Begins {
            request: Some(1),
            names: vec![name.into()]
        },
        Says::Ends {
            request: None,
            names: vec![name.into()]
        },
        Hears::Other,
        Hears::Told(name.into()),
        Hears::Over(name.into()),
        Hears::Answer(To::Name(name.into())),
        Hears::Answer(To::Request(7)),
    );
    let expected = "Other Begins { request: Some(1), .. } Ends { request: None, .. } Other Told(..) Over(..) \
                    Answer(Name(..)) Answer(Request(7))";
    assert_eq!(shown, expected);
}
