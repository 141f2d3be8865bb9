//! What comes on standard input: lines, or frames with their length, each whole.

use std::{
    io::{self, BufRead, Read},
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
    each(next)
}

/// The same of frames: four bytes that say how long the rest is, the highest first. One that is too long is the end:
/// what follows may be anything.
pub(crate) fn frames() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    each(next_frame)
}

/// Until there is none, or an error after which none can come.
fn each(next: fn(&mut io::StdinLock<'static>) -> io::Result<Option<Vec<u8>>>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (found, taken) = mpsc::channel(ROOM);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(one) = next(&mut input).transpose() {
            let is_last = one.as_ref().is_err_and(|error| !is_over_by_itself(error));
            if found.blocking_send(one).is_err() || is_last {
                return;
            }
        }
    });
    taken
}

/// Whether what comes after it can be read.
pub(crate) fn is_over_by_itself(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// None at the end.
fn next_frame(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = Vec::new();
    input.by_ref().take(4).read_to_end(&mut length)?;
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within a frame");
    let length = match length[..] {
        [] => return Ok(None),
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => return Err(cut()),
    };
    if length as usize > LONGEST {
        let what = format!("a frame says that it has {length} bytes, which is more than 16 MiB: is this a length?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    let mut frame = Vec::new();
    input.by_ref().take(u64::from(length)).read_to_end(&mut frame)?;
    match frame.len() == length as usize {
        true => Ok(Some(frame)),
        false => Err(cut()),
    }
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

    #[test]
    fn frames_come_whole_and_a_long_one_is_the_end() {
        let all = |text: &[u8]| {
            let mut input = io::BufReader::new(text);
            let next = || next_frame(&mut input).transpose();
            let mut frames = Vec::new();
            for frame in std::iter::from_fn(next).map(|frame| frame.map_err(|error| error.kind())) {
                let is_last = frame.is_err();
                frames.push(frame);
                if is_last {
                    break;
                }
            }
            frames
        };
        let whole = b"\0\0\0\x03a\nb\0\0\0\0\0\0\0\x01\xff";
        assert_eq!(all(whole), [Ok(b"a\nb".to_vec()), Ok(Vec::new()), Ok(b"\xff".to_vec())]);
        assert_eq!(all(b"hello, there"), [Err(io::ErrorKind::FileTooLarge)]);
        for cut in [&whole[..6], &whole[..2]] {
            assert_eq!(all(cut), [Err(io::ErrorKind::UnexpectedEof)]);
        }
    }
}
