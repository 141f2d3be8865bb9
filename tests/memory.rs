//! What a session holds of memory, while it is idle: counted by the allocator, and asked of a server
//! that takes none.

use std::{
    alloc::System,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower_ws::{
    Client, Request,
    client::{Inbound, Incoming},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

/// What is allocated and not freed, in bytes.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Answers the handshake, and a MiB by a MiB.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let text = json!({ "jsonrpc": "2.0", "method": "n", "params": ["x".repeat(MIB)] }).to_string();
    let mut large = vec![0x81, 127];
    large.extend((text.len() as u64).to_be_bytes());
    large.extend(text.as_bytes());
    let large: &[u8] = large.leak();
    thread::spawn(move || {
        loop {
            let (mut socket, _) = listener.accept().expect("it listens");
            // What it needs it has before the client has its answer. It ends with the client, in
            // whatever way.
            let mut buffer = vec![0; 64 * KIB];
            thread::spawn(move || serve_one(&mut socket, &mut buffer, large));
        }
    });
    address
}

fn serve_one(socket: &mut TcpStream, buffer: &mut [u8], large: &[u8]) -> io::Result<()> {
    let mut head = 0;
    while !buffer[..head].ends_with(b"\r\n\r\n") {
        head += socket.read(&mut buffer[head..])?;
    }
    let text = str::from_utf8(&buffer[..head]).expect("a head is ASCII");
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let accept = derive_accept_key(key.expect("each upgrade has one").as_bytes());
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )?;
    let mut heard = 0;
    loop {
        match socket.read(buffer)? {
            0 => return Ok(()),
            // A close frame with a code; a piece of what is large is larger.
            8 if buffer[0] == 0x88 => return Ok(()),
            read => heard += read,
        }
        if heard > MIB {
            heard = 0;
            socket.write_all(large)?;
        }
    }
}

async fn connect(url: &str) -> (Client, Inbound) {
    let (client, mut inbound) = tower_ws::connect(url).await.expect("it serves");
    assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
    tokio::time::sleep(Duration::from_secs(2)).await;
    (client, inbound)
}

/// Of 15 KB in a debug build the driver with all layers in it takes 6.4; the rest is many small
/// things.
#[tokio::test]
async fn an_idle_session_holds_little_and_a_large_message_leaves_little() {
    let url = format!("ws://{}", serve());
    // What is made once and shared by all sessions.
    let _first = connect(&url).await;
    let before = held();
    let (client, mut inbound) = connect(&url).await;
    // The server runs in this process, too, and needs its buffer and a thread.
    let server = 64 * KIB;
    let idle = held() - before - server;
    assert!(idle <= 17 * KIB, "idle: {idle} bytes");

    let large = Request::new("n").params(&["x".repeat(MIB)]).expect("JSON");
    client.notify(large).await.expect("it is open");
    assert!(matches!(inbound.next().await, Some(Incoming::Notification(_))));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = held() - before - server;
    assert!(after <= idle + 3 * KIB, "idle: {idle} bytes, after a MiB: {after}");
}
