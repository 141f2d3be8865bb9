//! Health for messages that have no ping.
//~ messages of type `String` have no ping
//~ give the layer a question of your protocol, by `.probe(…)`
use tower_ws::core::{Ping, Probe};

fn asks<M>(_: impl Probe<M>) {}

fn main() {
    asks::<String>(Ping);
}
