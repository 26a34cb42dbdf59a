//! The decoder as a fuzz target: see `crate::fuzzing`.
//!
//! ```text
//! mode: u8 | cut: u8 | what a client sends
//!  bit 0: frames are repaired (masked, no reserved bits, short lengths cut to the
//!  bytes that follow); bit 1: messages are not allowed; bit 2: the mask is zero
//! ```
//!
//! Checked properties: the size of the pieces changes neither the messages nor the
//! refusal; the decoder never holds more than a message and a frame header; the
//! decoded messages, encoded again, decode to the same messages.

use super::{CONTROL_BYTES_MAX, DecodedMessage, MessageDecoder, Violation};

/// Messages over this are refused, so that the fuzzer reaches the refusal.
const PAYLOAD_BYTES_MAX: usize = 300;
/// The longest frame header, with the mask.
const HEADER_BYTES_MAX: usize = 14;

pub(crate) fn decoder(input: &[u8]) {
    let [mode, cut, bytes @ ..] = input else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 {
        repair(&mut bytes, mode & 4 != 0);
    }
    let payload_bytes_max = (mode & 2 == 0).then_some(PAYLOAD_BYTES_MAX);
    let (said, violation) = decode(payload_bytes_max, &bytes, bytes.len());
    let pieces = decode(payload_bytes_max, &bytes, usize::from(*cut));
    assert_eq!(pieces, (said, violation), "pieces of {cut}");
    let (said, violation) = pieces;
    let mut again = Vec::new();
    for said in &said {
        match said {
            DecodedMessage::Data(payload) => {
                assert!(payload_bytes_max.is_some_and(|max| payload.len() <= max));
                frame(0x82, payload, &mut again);
            }
            DecodedMessage::Ping(payload) => {
                assert!(payload.len() as u64 <= CONTROL_BYTES_MAX);
                frame(0x89, payload, &mut again);
            }
            DecodedMessage::Pong => frame(0x8a, b"", &mut again),
            DecodedMessage::Close(None) => frame(0x88, b"", &mut again),
            DecodedMessage::Close(Some(code)) => frame(0x88, &code.to_be_bytes(), &mut again),
        }
    }
    assert_eq!(decode(payload_bytes_max, &again, again.len()), (said, None), "framed anew");
    if let Some(Violation::TooLarge { payload_bytes_max }) = violation {
        assert_eq!(payload_bytes_max, PAYLOAD_BYTES_MAX);
    }
}

/// What the decoder returns for pieces of this size, and how it ended.
fn decode(
    payload_bytes_max: Option<usize>,
    bytes: &[u8],
    piece_bytes: usize,
) -> (Vec<DecodedMessage>, Option<Violation>) {
    let most = payload_bytes_max.unwrap_or(0).max(CONTROL_BYTES_MAX as usize) + HEADER_BYTES_MAX;
    // A partial message is held while a control frame arrives.
    let most = most + payload_bytes_max.unwrap_or(0);
    let mut decoder = MessageDecoder::new(payload_bytes_max);
    let mut said = Vec::new();
    for piece in bytes.chunks(piece_bytes.max(1)) {
        decoder.received().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(next)) => said.push(next),
                Ok(None) => break,
                Err(violation) => return (said, Some(violation)),
            }
        }
        decoder.shrink();
        assert!(decoder.held_bytes() <= most, "{} bytes are held", decoder.held_bytes());
        if decoder.held_bytes() == 0 {
            assert_eq!(decoder.received().capacity(), 0, "nothing is kept between messages");
        }
    }
    (said, None)
}

/// A client's frame, with a mask.
fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    let mask = [0x11, 0x22, 0x33, 0x44];
    out.push(first);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Repairs frame after frame, as far as their lengths lead.
fn repair(bytes: &mut [u8], plain: bool) {
    let mut at = 0;
    while let Some(frame) = bytes.get_mut(at..).filter(|frame| frame.len() >= 6) {
        frame[0] &= 0x8f;
        frame[1] |= 0x80;
        let (head, length) = match frame[1] & 0x7f {
            126 if frame.len() >= 8 => (4, u16::from_be_bytes([frame[2], frame[3]]).into()),
            // Nothing follows, or the length is too long to repair.
            126 | 127 => return,
            length => {
                let length = usize::from(length).min(frame.len() - 6);
                frame[1] = 0x80 | length as u8;
                (2, length)
            }
        };
        if plain {
            frame[head..head + 4].fill(0);
        }
        at += head + 4 + length;
    }
}
