//! A subscription that is told of something all the time: nothing may be missing but where it says so.

use tokio::sync::watch;
use tower_ws::{
    Message,
    subscribe::{Ended, Handle, Heard, Update},
    transport::JsonText,
};

/// Subscribes, and says what was heard last.
pub(crate) fn begin(handle: &Handle<Message>) -> watch::Receiver<u64> {
    let subscriber = handle.json_rpc(JsonText);
    let (heard, listener) = watch::channel(0);
    tokio::spawn(async move {
        let subscribing = subscriber.subscribe::<u64>("eth_subscribe", &["ticks"], "eth_unsubscribe");
        let mut items = subscribing.await.expect("the server does not refuse it");
        // Each connection counts from 1.
        let mut expected = 1;
        while let Some(item) = items.next().await {
            match item {
                Heard::Item(number) => {
                    assert_eq!(number, expected, "something is missing, and nobody said so");
                    expected += 1;
                    heard.send_replace(number);
                }
                Heard::Update(Update::Lost { .. }) => expected = 1,
                Heard::Update(Update::Ended(Ended::Closed(_))) => return,
                Heard::Update(Update::Ended(why)) => panic!("the subscription is over: {why}"),
                Heard::Update(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    listener
}
