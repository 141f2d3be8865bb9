//! Frames by hand (RFC 6455 section 5.2): parsed and unmasked in place.

use std::ops::Range;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const OPCODE: u8 = 0x0f;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// One complete frame inside a buffer, its payload unmasked.
#[derive(Debug)]
pub(crate) struct Frame {
    /// FIN, the reserved bits and the opcode, as received.
    pub(crate) head: u8,
    /// Where the payload is, from the start of what was parsed; it ends the frame.
    pub(crate) payload: Range<usize>,
}

/// Takes the frame at the start of `input`, or `None` if it is not all there. The payload is
/// unmasked in place.
pub(crate) fn take(input: &mut [u8]) -> Option<Frame> {
    let (&head, &second) = (input.first()?, input.get(1)?);
    let (length, at) = match second & LENGTH {
        126 => (usize::from(u16::from_be_bytes(*input[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*input[2..].first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let (mask, at) = match second & MASKED {
        0 => ([0; 4], at),
        _ => (*input.get(at..)?.first_chunk()?, at + 4),
    };
    let payload = at..at.checked_add(length)?;
    let masked = input.get_mut(payload.clone())?;
    if second & MASKED != 0 {
        self::mask(masked, mask);
    }
    Some(Frame { head, payload })
}

/// Writes the head of an unmasked frame.
pub(crate) fn put_head(output: &mut Vec<u8>, head: u8, length: usize) {
    output.push(head);
    match length {
        0..126 => output.push(length as u8),
        126..65_536 => {
            output.push(126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            output.push(127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Writes a text frame of a client, masked with this.
pub(crate) fn put_masked(output: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    let start = output.len();
    put_head(output, FIN | TEXT, payload.len());
    output[start + 1] |= MASKED;
    output.extend_from_slice(&mask);
    let start = output.len();
    output.extend_from_slice(payload);
    self::mask(&mut output[start..], mask);
}

/// Masks a payload, or takes the mask off it.
pub(crate) fn mask(payload: &mut [u8], mask: [u8; 4]) {
    // Sixteen bytes at a time, a multiple of the mask, is what the compiler turns into vector code.
    let wide: [u8; 16] = std::array::from_fn(|at| mask[at % 4]);
    for chunk in payload.chunks_mut(16) {
        for (byte, mask) in chunk.iter_mut().zip(wide) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_is_taken_once_it_is_complete() {
        let mask = [1, 2, 3, 4];
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let text: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut wire = Vec::new();
            put_head(&mut wire, FIN | TEXT, length);
            wire[1] |= MASKED;
            wire.extend_from_slice(&mask);
            wire.extend(text.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));

            let whole = wire.len();
            assert!(take(&mut wire[..whole - 1]).is_none());
            let frame = take(&mut wire).unwrap();
            assert_eq!(frame.head, FIN | TEXT);
            assert_eq!(frame.payload.end, whole);
            assert_eq!(wire[frame.payload], text);
        }
    }
}
