//! A look at each message that passes.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tower::{Layer, ServiceExt};
use tower_ws_core::Event;
use tower_ws_metrics::{Seen, TapLayer, Way};
use tower_ws_test_kit::conformance;
use tower_ws_transport::memory;

#[tokio::test(start_paused = true)]
async fn it_keeps_the_laws() {
    conformance::layer(TapLayer::new(|_: &Seen, _: &String| {})).await;
}

#[tokio::test(start_paused = true)]
async fn each_message_is_seen_with_its_way_its_size_and_its_time() {
    let (dial, mut listener) = memory::channel::<String>(8);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let tap = TapLayer::new(move |seen: &Seen, message: &String| {
        sees.lock().unwrap().push((*seen, message.clone()));
    });
    let (connection, far) = tokio::join!(tap.layer(dial).oneshot(()), listener.accept());
    let (mut connection, mut far) = (connection.unwrap(), far.unwrap());
    let Some(Event::Up(up)) = connection.next().await else {
        panic!("it comes up")
    };
    assert!(format!("{:?}", up.layers).contains("tap"));
    tokio::time::advance(Duration::from_secs(2)).await;
    connection.send("hello".to_owned().into()).await.unwrap();
    far.send("hi".to_owned()).await.unwrap();
    assert!(matches!(connection.next().await, Some(Event::Message(_))));
    let seen = seen.lock().unwrap();
    let [(out, said), (back, heard)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((out.way, out.bytes, said.as_str()), (Way::Out, 5, "hello"));
    assert_eq!((back.way, back.bytes, heard.as_str()), (Way::In, 2, "hi"));
    assert!(out.after >= Duration::from_secs(2) && out.epoch == up.epoch, "{out:?}");
}
