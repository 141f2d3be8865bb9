//! Plain messages over the recommended stack, by real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use support::{SECOND, bounded, builder, within};
use tower_ws::{
    Message,
    messages::{Event, Events, Lag, Outcome, Reason, Sender},
    queue::QueueLayer,
    rate_limit::{Quota, RateLimitLayer},
};
use tower_ws_test_kit::{Cut, Script, Server};

async fn open(server: &Server) -> (Sender<Message>, Events<Message>) {
    bounded(builder(server.url()).messages().connect()).await.unwrap()
}

/// The next message.
async fn said(events: &mut Events<Message>) -> String {
    loop {
        match bounded(events.next()).await.expect("the session lives") {
            Event::Message(message) => return message.as_text().unwrap_or_default().to_owned(),
            _ => continue,
        }
    }
}

/// The loop that every newcomer writes: one task, `next` and `send` in one `select!`, a server that
/// vanishes again and again. Over a raw session it hangs.
#[tokio::test]
async fn the_loop_of_one_task_lives_through_everything() {
    let server = Server::start(Script::Echo).await.unwrap();
    let (sender, mut events) = open(&server).await;
    let program = tokio::spawn(async move {
        let (mut ups, mut echoed) = (0, BTreeSet::new());
        let mut number = 0u64;
        while ups < 8 {
            tokio::select! {
                event = events.next() => match event.expect("the session lives") {
                    Event::Up(_) => {
                        ups += 1;
                        sender.send(r#"{"op":"subscribe"}"#).await.unwrap();
                    }
                    Event::Message(message) => {
                        echoed.insert(message.as_text().unwrap().to_owned());
                    }
                    // Whatever became of it, it is told.
                    _ => {}
                },
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    number += 1;
                    sender.send(number.to_string()).await.unwrap();
                }
            }
        }
        echoed.len()
    });
    for cut in 0..7 {
        within(60 * SECOND, server.wait_dials(cut + 1)).await;
        bounded(server.wait_live(1)).await;
        tokio::time::sleep(SECOND / 20).await;
        server.cut([Cut::Rst, Cut::Fin][cut % 2]);
    }
    assert!(within(60 * SECOND, program).await.unwrap() > 10);
}

#[tokio::test]
async fn text_binary_and_values_go_both_ways() {
    let server = Server::start(Script::Echo).await.unwrap();
    let (sender, mut events) = open(&server).await;
    assert!(matches!(bounded(events.next()).await, Some(Event::Up(_))));
    for message in [Message::text("héllo"), Message::binary(vec![0, 159, 146, 150])] {
        assert_eq!(
            bounded(sender.send_confirmed(message.clone())).await.unwrap(),
            Outcome::Written
        );
        let Some(Event::Message(echoed)) = bounded(events.next()).await else {
            panic!("it is echoed");
        };
        assert_eq!(echoed, message);
    }
    // Pings are the stack's business.
    server.push(Message::ping("are you there"));
    sender.send("after").await.unwrap();
    assert_eq!(said(&mut events).await, "after");

    let connecting = builder(server.url()).messages().connect_json::<Value, Value>();
    let (sender, mut events) = bounded(connecting).await.unwrap();
    assert!(matches!(bounded(events.next()).await, Some(Event::Up(_))));
    let value = json!({ "price": 1.5 });
    bounded(sender.send(&value)).await.unwrap();
    assert!(matches!(bounded(events.next()).await, Some(Event::Message(echoed)) if echoed == value));
    bounded(sender.sender().send("no json")).await.unwrap();
    assert!(matches!(bounded(events.next()).await, Some(Event::Unreadable(what)) if what.so_far == 1));
}

#[tokio::test]
async fn a_send_in_an_outage_waits_in_the_queue_and_one_without_room_comes_back() {
    let server = Server::start(Script::Echo).await.unwrap();
    let messages = builder(server.url()).messages().timeout(SECOND / 2);
    let messages = messages.stack(|stack| stack.queue(QueueLayer::new().messages(2)));
    let (sender, mut events) = bounded(messages.connect()).await.unwrap();
    server.refuse();
    server.cut(Cut::Rst);
    while !matches!(bounded(events.next()).await, Some(Event::Down(_))) {}
    for n in ["one", "two"] {
        bounded(sender.send(n)).await.unwrap();
    }
    let error = bounded(sender.send("three")).await.unwrap_err();
    assert!(
        matches!(
            error.reason(),
            Reason::TimedOut {
                sent: false,
                cause: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.into_message().unwrap().as_text(), Some("three"));
    server.listen().unwrap();
    for n in ["one", "two"] {
        assert_eq!(said(&mut events).await, n);
    }
    assert!(bounded(sender.close(SECOND)).await.is_empty());
}

#[tokio::test]
async fn who_reads_slowly_and_waits_loses_nothing() {
    const MESSAGES: usize = 500;
    let server = Server::start(Script::Echo).await.unwrap();
    let messages = builder(server.url()).messages().inbox(4, Lag::Wait);
    let (sender, mut events) = bounded(messages.connect()).await.unwrap();
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            sender.send(n.to_string()).await.unwrap();
        }
        sender
    });
    for n in 0..MESSAGES {
        if n % 100 == 0 {
            tokio::time::sleep(SECOND / 20).await;
        }
        assert_eq!(said(&mut events).await, n.to_string());
    }
    drop(bounded(sending).await.unwrap());
}

/// The limit stands in its right place without the stack spelled out.
#[tokio::test]
async fn a_rate_limit_of_the_builder_holds() {
    let server = Server::start(Script::Echo).await.unwrap();
    let five = Quota::strict(5.try_into().unwrap(), SECOND).unwrap();
    let limit = RateLimitLayer::new().messages(five);
    let messages = builder(server.url()).rate_limit(limit).messages();
    let (sender, mut events) = bounded(messages.connect()).await.unwrap();
    let began = tokio::time::Instant::now();
    for n in 0..12 {
        bounded(sender.send(n.to_string())).await.unwrap();
    }
    for n in 0..12 {
        assert_eq!(said(&mut events).await, n.to_string());
    }
    assert!(began.elapsed() >= 2 * SECOND, "{:?}", began.elapsed());
}
