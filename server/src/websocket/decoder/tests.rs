//! Valid and invalid client frames, in pieces of every size.

use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A client's frame: its first byte, then length, mask and masked payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("short")),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let start = frame.len();
    frame.extend_from_slice(payload);
    frame::unmask(&mut frame[start..], MASK);
    frame
}

/// What the decoder returns for pieces of this size, and how it ended.
fn decode(bytes: &[u8], piece_bytes: usize) -> (Vec<DecodedMessage>, Option<Violation>) {
    let mut decoder = MessageDecoder::new(Some(1000));
    let mut said = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        decoder.received().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(next)) => said.push(next),
                Ok(None) => break,
                Err(violation) => return (said, Some(violation)),
            }
        }
        decoder.shrink();
        assert!(decoder.held_bytes() <= 1000 + 14);
    }
    (said, None)
}

/// The result is the same for every size of the pieces.
fn check(frames: &[Vec<u8>], expected: &[DecodedMessage], violation: Option<Violation>) {
    let bytes = frames.concat();
    for piece_bytes in [1, 2, 3, 7, 64, bytes.len()] {
        let (said, ended) = decode(&bytes, piece_bytes);
        assert_eq!(said, expected, "in pieces of {piece_bytes}");
        assert_eq!(ended, violation, "in pieces of {piece_bytes}");
    }
}

fn message(payload: &[u8]) -> DecodedMessage {
    DecodedMessage::Data(payload.into())
}

#[test]
fn fragments_are_joined_with_control_frames_between_them() {
    let long = [b'x'; 300];
    check(
        &[
            frame(0x82, b"one"),
            frame(0x81, b""),
            frame(0x01, b"zw\xc3"),
            frame(0x89, b"there?"),
            frame(0x00, b""),
            frame(0x8a, b""),
            frame(0x80, b"\xb6lf"),
            frame(0x82, &long),
            frame(0x88, b"\x03\xe8bye"),
        ],
        &[
            message(b"one"),
            message(b""),
            DecodedMessage::Ping(b"there?"[..].into()),
            DecodedMessage::Pong,
            message("zw\u{f6}lf".as_bytes()),
            message(&long),
            DecodedMessage::Close(Some(1000)),
        ],
        None,
    );
}

/// The messages, each joined from the parts that were taken of it.
fn decode_in_parts(
    bytes: &[u8],
    piece_bytes: usize,
    part_bytes: usize,
) -> (Vec<DecodedMessage>, Option<Violation>) {
    let mut decoder = MessageDecoder::new(Some(1000));
    let (mut said, mut begun) = (Vec::new(), BytesMut::new());
    for piece in bytes.chunks(piece_bytes) {
        decoder.received().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(DecodedMessage::Data(rest))) => {
                    begun.extend_from_slice(&rest);
                    said.push(DecodedMessage::Data(begun.split()));
                }
                Ok(Some(next)) => said.push(next),
                Ok(None) => break,
                Err(violation) => return (said, Some(violation)),
            }
        }
        match decoder.take_part(part_bytes) {
            Ok(Some(part)) => begun.extend_from_slice(&part),
            Ok(None) => {}
            Err(violation) => return (said, Some(violation)),
        }
        decoder.shrink();
    }
    (said, None)
}

#[test]
fn messages_taken_in_parts_are_the_same_as_in_one() {
    let text = "zw\u{f6}lf\u{20ac}".repeat(80);
    let binary: Vec<u8> = (0..=250).cycle().take(997).collect();
    let frames = [
        frame(0x81, text.as_bytes()),
        frame(0x02, &binary[..500]),
        frame(0x89, b"there?"),
        frame(0x00, b""),
        frame(0x80, &binary[500..]),
        frame(0x82, b""),
    ];
    let expected = [
        message(text.as_bytes()),
        DecodedMessage::Ping(b"there?"[..].into()),
        message(&binary),
        message(b""),
    ];
    for (piece_bytes, part_bytes) in [(1, 0), (1, 1), (1, 9), (7, 4), (50, 100), (333, 1)] {
        let decoded = decode_in_parts(&frames.concat(), piece_bytes, part_bytes);
        assert_eq!(decoded, (expected.to_vec(), None), "{piece_bytes} {part_bytes}");
    }
}

#[test]
fn faults_are_found_although_parts_were_taken() {
    let cases = [
        (frame(0x81, &[&[b'x'; 50][..], b"\xff", &[b'x'; 50]].concat()), Violation::NotText),
        (frame(0x81, &[&[b'x'; 50][..], b"\xc3"].concat()), Violation::NotText),
        (
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(),
            Violation::TooLarge { payload_bytes_max: 1000 },
        ),
    ];
    for (bytes, violation) in cases {
        for piece_bytes in [1, 13, 60] {
            let (said, ended) = decode_in_parts(&bytes, piece_bytes, 4);
            assert_eq!((said, ended), (vec![], Some(violation)), "{piece_bytes}");
        }
    }
}

#[test]
fn frames_may_split_characters_but_messages_may_not() {
    let whole = [frame(0x01, b"\xc3"), frame(0x80, b"\xb6")];
    check(&whole, &[message("\u{f6}".as_bytes())], None);
    check(&[frame(0x01, b"\xc3"), frame(0x80, b"x")], &[], Some(Violation::NotText));
    check(&[frame(0x81, b"\xff")], &[], Some(Violation::NotText));
    check(&[frame(0x82, b"\xff")], &[message(b"\xff")], None);
    check(&[frame(0x88, b"\x03\xe8\xff")], &[], Some(Violation::NotText));
}

#[test]
fn invalid_frames_are_refused_and_messages_before_them_are_kept() {
    let unmasked = vec![0x82, 1, b'x'];
    let long_length = [&[0x82, 0xfe, 0, 5][..], &MASK, b"abcde"].concat();
    let endless_ping = [&[0x89, 0xfe, 0, 126][..], &MASK].concat();
    for (name, bad) in [
        ("unmasked", unmasked),
        ("a reserved bit", frame(0xc2, b"x")),
        ("a reserved bit of a control frame", frame(0x99, b"")),
        ("a reserved opcode", frame(0x83, b"x")),
        ("a reserved control opcode", frame(0x8b, b"")),
        ("a long length", long_length),
        ("a ping in parts", frame(0x09, b"")),
        ("a ping of 126 bytes", endless_ping),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("half a close code", frame(0x88, b"\x03")),
        ("a close code that is none", frame(0x88, b"\x03\xed")),
    ] {
        let (said, ended) = decode(&[frame(0x82, b"before"), bad].concat(), 5);
        assert_eq!(said, [message(b"before")], "{name}");
        assert!(matches!(ended, Some(Protocol(_))), "{name}: {ended:?}");
    }
    let within = [frame(0x02, b"a"), frame(0x82, b"b")];
    check(&within, &[], Some(Protocol("a message begins before the last one ended")));
}

#[test]
fn too_long_messages_are_refused_at_their_header() {
    let too_large = Some(Violation::TooLarge { payload_bytes_max: 1000 });
    check(&[frame(0x82, &[0; 1000])], &[message(&[0; 1000])], None);
    check(&[[&[0x82, 0xfe, 0x03, 0xe9][..], &MASK].concat()], &[], too_large);
    let huge = [&[0x82, 0xff][..], &[0xff; 8], &MASK].concat();
    check(&[huge], &[], too_large);
    check(&[frame(0x02, &[0; 600]), frame(0x00, &[0; 400])], &[], None);
    check(&[frame(0x02, &[0; 600]), frame(0x80, &[0; 401])], &[], too_large);
}

#[test]
fn connection_that_only_reads_accepts_only_control_frames() {
    let mut decoder = MessageDecoder::new(None);
    decoder.received().extend_from_slice(&frame(0x89, b"x"));
    decoder.received().extend_from_slice(&frame(0x82, b""));
    assert_eq!(decoder.next(), Ok(Some(DecodedMessage::Ping(b"x"[..].into()))));
    assert_eq!(decoder.next(), Err(Violation::UnexpectedMessage));
}

#[test]
fn announced_lengths_allocate_nothing_and_idle_decoder_holds_nothing() {
    let mut decoder = MessageDecoder::new(Some(1 << 30));
    let header = [&[0x82, 0xff][..], &(1u64 << 30).to_be_bytes(), &MASK].concat();
    decoder.received().extend_from_slice(&header);
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.received().capacity() < 100, "{}", decoder.received().capacity());

    let mut decoder = MessageDecoder::new(Some(1 << 20));
    decoder.received().reserve(1 << 16);
    decoder.received().extend_from_slice(&frame(0x82, &[0; 60_000]));
    drop(decoder.next().expect("a message"));
    decoder.received().extend_from_slice(&[0x82]);
    assert_eq!(decoder.next(), Ok(None));
    decoder.shrink();
    assert!(decoder.received().capacity() < SMALL_BYTES);
    decoder.received().extend_from_slice(&frame(0x82, b"x")[1..]);
    assert_eq!(decoder.next(), Ok(Some(message(b"x"))));
    decoder.shrink();
    assert_eq!(decoder.received().capacity(), 0);
}

#[test]
fn arbitrary_bytes_decode_the_same_in_pieces_of_any_size() {
    // A small random generator with a fixed seed, so every run is the same.
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        for _ in 0..random() % 6 {
            let firsts = [0x82, 0x81, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x01];
            let first = firsts.get(random() % 12).copied().unwrap_or(random() as u8);
            let payload = vec![random() as u8 % 0x80; random() % 140];
            let mut frame = frame(first, &payload);
            if random().is_multiple_of(8) {
                let at = random() % frame.len();
                frame[at] ^= 1 << (random() % 8);
            }
            bytes.extend_from_slice(&frame);
        }
        bytes.truncate(bytes.len() - random() % (bytes.len() + 1) / 8);
        let whole = decode(&bytes, bytes.len().max(1));
        for piece_bytes in [1, 1 + random() % 50] {
            assert_eq!(decode(&bytes, piece_bytes), whole, "{bytes:02x?}");
        }
    }
}
