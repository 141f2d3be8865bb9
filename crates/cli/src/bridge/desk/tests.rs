use serde_json::json;

use super::*;

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

/// What the host is told next, as JSON.
fn told(desk: &mut Desk, now: Instant) -> Option<Value> {
    match desk.next(now)? {
        Step::Tell(text) => Some(serde_json::from_str(&text).unwrap()),
        step => panic!("{step:?}"),
    }
}

/// Some hosts give a server that they start three seconds.
#[test]
fn what_is_remembered_is_told_once_it_is_known_that_the_server_is_not_there() {
    let introduction = json!({ "capabilities": { "tools": {} } });
    let remembered = Recalled {
        asked: Asked {
            method: "initialize".to_owned(),
            revision: Some("2025-06-18".to_owned()),
        },
        introduction: raw(&introduction),
        tools: Some(raw(&json!({ "tools": [] }))),
    };
    let mut desk = Desk::new(Start::Remember, Duration::from_secs(60), Some(remembered));
    let now = Instant::now();
    let initialize =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18" } });
    desk.on_host(initialize.to_string().as_bytes(), now);
    assert_eq!(told(&mut desk, now), None);
    desk.on_verdict(String::new());
    assert_eq!(told(&mut desk, now), None, "nothing is known");
    desk.on_verdict("tcp: connection refused".to_owned());
    assert_eq!(told(&mut desk, now).unwrap()["result"], introduction);
    desk.on_host(br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#, now);
    assert_eq!(told(&mut desk, now).unwrap()["result"], json!({ "tools": [] }));
    // What is not remembered waits for the server.
    desk.on_host(br#"{"jsonrpc":"2.0","id":3,"method":"tools/call"}"#, now);
    assert_eq!(told(&mut desk, now), None);

    // It comes after all: the host is told that the lists may be others.
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": introduction });
    desk.on_server(answer.to_string(), now);
    assert_eq!(
        told(&mut desk, now).unwrap()["method"],
        "notifications/tools/list_changed"
    );
    assert!(matches!(desk.next(now), Some(Step::Remember(_))));
}
