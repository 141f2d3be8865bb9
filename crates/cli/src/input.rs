//! Lines of standard input, each whole.

use std::{
    io::{self, BufRead},
    thread,
};

use tokio::sync::mpsc;

/// How many lines wait to be taken; whoever writes them waits then.
const ROOM: usize = 64;

/// How long a line may be: as long as a message.
pub(crate) const LONGEST: usize = 16 << 20;

/// Reads lines on a thread of its own, which waits for ever where a terminal does. Ends with the input. A line has no
/// line break at its end; one that is too long is [`InvalidData`](io::ErrorKind::InvalidData), and those after it come still.
pub(crate) fn lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (lines, taken) = mpsc::channel(ROOM);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next(&mut input).transpose() {
            let is_last = line
                .as_ref()
                .is_err_and(|error| error.kind() != io::ErrorKind::InvalidData);
            if lines.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    taken
}

/// None at the end.
fn next(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let (mut is_long, mut has_begun) = (false, false);
    loop {
        let part = match input.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if part.is_empty() {
            break;
        }
        has_begun = true;
        let end = part.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(part.len());
        is_long |= line.len() + taken > LONGEST;
        if is_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(&part[..taken]);
        }
        input.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            break;
        }
    }
    if is_long {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line is longer than 16 MiB",
        ));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(has_begun.then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_a_long_one_does_not_end_them() {
        let text = [b"one\r\n\n".to_vec(), vec![b'x'; LONGEST + 1], b"\nlast\xff".to_vec()].concat();
        let mut input = io::BufReader::new(&text[..]);
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input).transpose() {
            lines.push(line.map_err(|error| error.kind()));
        }
        let expected = [
            Ok(b"one".to_vec()),
            Ok(Vec::new()),
            Err(io::ErrorKind::InvalidData),
            Ok(b"last\xff".to_vec()),
        ];
        assert_eq!(lines, expected);
    }
}
