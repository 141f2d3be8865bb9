//! Lines of standard input, each whole.

use std::{
    io::{self, BufRead},
    thread,
};

use tokio::sync::mpsc;

/// How many lines wait to be taken; whoever writes them waits then.
const ROOM: usize = 64;

/// Reads lines on a thread of its own, which waits for ever where a terminal does. Ends with the input. A line has no
/// line break at its end.
pub(crate) fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (lines, taken) = mpsc::channel(ROOM);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = match input.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => {
                    let end = line.trim_end_matches('\n').trim_end_matches('\r').len();
                    line.truncate(end);
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            let is_last = read.is_err();
            if lines.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    taken
}
