//! Encodes the frames that this side sends, and unmasks those that it receives.
//!
//! ```text
//! fin, opcode: u8 | length: 1, 3 or 9 bytes | payload        a server sends no mask
//! ```

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest reason of a close frame.
const REASON_BYTES_MAX: usize = 123;

pub(super) const TEXT: OpCode = OpCode::Data(Data::Text);
pub(super) const BINARY: OpCode = OpCode::Data(Data::Binary);
pub(super) const PING: OpCode = OpCode::Control(Control::Ping);
pub(super) const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// The longest header of a frame that this side sends.
pub(super) const HEADER_BYTES_MAX: usize = 10;

/// Appends a whole message, or a control frame, to `out`.
pub(super) fn encode(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, out).expect("writing to a Vec cannot fail");
    out.extend_from_slice(payload);
}

/// Appends a close frame; without a code its payload is empty. A reason that is
/// too long is cut off between two characters.
pub(super) fn encode_close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let Some(code) = code else { return encode(CLOSE, &[], out) };
    let (reason, _) = reason.split_at(reason.floor_char_boundary(REASON_BYTES_MAX));
    encode(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat(), out);
}

/// Unmasks a client's payload.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn lengths_have_the_shortest_encoding() {
        for (length, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = encoded(|out| encode(BINARY, &vec![7; length], out));
            assert!(frame.starts_with(header), "{length}");
            assert_eq!(frame.len(), header.len() + length);
            assert!(header.len() <= HEADER_BYTES_MAX);
        }
    }

    #[test]
    fn long_reason_is_cut_between_characters() {
        let frame = encoded(|out| encode_close(Some(4006), &"ä".repeat(100), out));
        assert_eq!(frame.get(..4), Some(&[0x88, 124, 0x0f, 0xa6][..]));
        assert!(std::str::from_utf8(&frame[4..]).is_ok_and(|reason| reason.len() == 122));
        assert_eq!(encoded(|out| encode_close(None, "unsaid", out)), [0x88, 0]);
    }

    #[test]
    fn unmask_restores_payloads_of_every_length() {
        let mask = [1, 2, 3, 0xf4];
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).map(|n| n * 5).collect();
            let mut masked: Vec<u8> =
                plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            unmask(&mut masked, mask);
            assert_eq!(masked, plain);
        }
    }
}
