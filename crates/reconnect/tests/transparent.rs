//! While a connection lives, the session says and does what the bare connection would.

mod support;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use support::{Net, closed};
use tower::{Service, ServiceExt};
use tower_ws_core::{Closed, Connection, Event, Failure, Outgoing};
use tower_ws_reconnect::{Decision, History, ReconnectLayer};

#[derive(Clone, Debug)]
enum Op {
    Say(u8),
    Reads(usize),
    Read,
    Send(u8),
    Control(u8),
    Flush,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u8>().prop_map(Op::Say),
        2 => (0usize..3).prop_map(Op::Reads),
        6 => Just(Op::Read),
        4 => any::<u8>().prop_map(Op::Send),
        3 => any::<u8>().prop_map(Op::Control),
        2 => Just(Op::Flush),
        1 => Just(Op::Close),
    ]
}

/// What a connection does when it is played a script.
fn trace(net: &Net, connection: impl Connection<Message = String>, script: &[Op]) -> Vec<String> {
    let mut connection = pin!(connection);
    let mut cx = Context::from_waker(Waker::noop());
    let peer = net.peer();
    let mut trace = vec![show(connection.as_mut().poll_next(&mut cx))];
    for op in script {
        let sink = connection.as_mut();
        trace.push(match op {
            Op::Say(n) => {
                peer.say(&n.to_string());
                continue;
            }
            Op::Reads(n) => {
                peer.reads(*n);
                continue;
            }
            Op::Read => show(sink.poll_next(&mut cx)),
            Op::Flush => verdict(sink.poll_flush(&mut cx)),
            Op::Close => verdict(sink.poll_close(&mut cx)),
            Op::Control(n) => verdict(Poll::Ready(sink.start_send(Outgoing::new(n.to_string()).control()))),
            Op::Send(n) => match connection.as_mut().poll_ready(&mut cx) {
                Poll::Ready(Ok(())) => verdict(Poll::Ready(
                    connection.as_mut().start_send(Outgoing::new(n.to_string())),
                )),
                other => verdict(other),
            },
        });
        if trace.last().is_some_and(|last| last.starts_with("down")) {
            break;
        }
    }
    peer.end(Some(closed(4403)));
    // More than it can have to say.
    for _ in 0..script.len() + 3 {
        trace.push(show(connection.as_mut().poll_next(&mut cx)));
    }
    trace
}

fn show(polled: Poll<Option<Event<String>>>) -> String {
    match polled {
        Poll::Ready(Some(Event::Up(up))) => format!("up {}", up.epoch),
        Poll::Ready(Some(Event::Down(down))) => {
            format!("down {} {} {}", down.epoch, down.cause, down.will_retry)
        }
        other => format!("{other:?}"),
    }
}

fn verdict(polled: Poll<Result<(), Closed>>) -> String {
    format!("{polled:?}")
}

proptest! {
    // The script of a failure is printed; there is no place for a file beside an integration test.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wrapped_trace_is_the_bare_one(script in prop::collection::vec(op(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (bare, wrapped) = (Net::accepting(), Net::accepting());
            let connection = bare.service().ready().await.unwrap().call(()).await.unwrap();
            let expected = trace(&bare, connection, &script);
            let layer = ReconnectLayer::new().policy(|_: &Failure, _: &History| Decision::GiveUp);
            let session = wrapped.session(layer).await.unwrap();
            prop_assert_eq!(trace(&wrapped, session, &script), expected);
            prop_assert_eq!(wrapped.received(), bare.received());
            Ok(())
        })?;
    }
}
