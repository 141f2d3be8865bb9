//! The peer: lines in, `LANE TOKEN NUMBER`, and lines out, `ack NUMBER`.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::ledger::Ledger;

/// Returns its address.
pub(crate) async fn start(ledger: &Ledger) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let ledger = ledger.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let (reads, mut writes) = socket.into_split();
                let mut lines = BufReader::new(reads).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let words: Vec<&str> = line.split(' ').collect();
                    let [lane, token, number] = words[..] else {
                        // The rest of a line whose writer was killed.
                        continue;
                    };
                    let number: u64 = number.parse().unwrap();
                    ledger.came(lane, token.parse().unwrap(), number);
                    if writes.write_all(format!("ack {number}\n").as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    addr
}
