//! Encoding: which records are in which part, and what bad input changes.

use proptest::collection::vec;
use proptest::prelude::*;
use styx_protocol::record;

use super::*;
use crate::error::Kind;

/// The payloads of the parts, and the most bytes of a part with several records.
fn take_all(encoded: &mut Encoded, part_bytes: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut payloads, mut largest) = (Vec::new(), 0);
    while let Some(part) = encoded.take_part(part_bytes) {
        let count = payloads.len() + part.count() as usize;
        if part.count() > 1 {
            largest = largest.max(part.raw_bytes());
        }
        let records = part.records();
        let mut at = 0;
        while at < records.len() {
            let (start, end) = record::frame(records, at).expect("a valid record");
            payloads.push(records[start..end].to_vec());
            at = end;
        }
        assert_eq!(payloads.len(), count);
    }
    (payloads, largest)
}

/// The payloads one after the other, and their ends.
fn packed(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<u32>) {
    let mut data = Vec::new();
    let ends = payloads.iter().map(|payload| {
        data.extend_from_slice(payload);
        data.len() as u32
    });
    let ends = ends.collect();
    (data, ends)
}

#[test]
fn bad_ends_add_nothing() {
    let mut encoded = Encoded::new();
    encoded.push(b"before").expect("small");
    for (ends, message) in [
        (&[1, 3, 2][..], "record 2 ends at byte 2, before it begins at 3"),
        (&[1, 5][..], "the last record ends at byte 5, but the data has 4 bytes"),
        (&[u32::MAX][..], "beyond"),
        (&[u32::MAX, 4][..], "record 1 ends at byte 4"),
    ] {
        let error = encoded.extend_packed(b"data", ends).expect_err("bad ends");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains(message) || message == "beyond", "{error}");
        assert_eq!((encoded.len(), encoded.bytes()), (1, 14));
    }
    encoded.extend_packed(b"data", &[0, 1, 1, 3]).expect("the last byte is ignored");
    encoded.extend_packed(b"", &[]).expect("nothing to add");
    encoded.extend_packed(b"", &[0]).expect("an empty record");
    let (payloads, _) = take_all(&mut encoded, 100);
    assert_eq!(payloads, [&b"before"[..], b"", b"d", b"", b"at", b""]);
    assert!(encoded.is_empty() && encoded.bytes() == 0);
}

#[test]
fn too_many_records_are_refused_before_memory_is_allocated() {
    let mut encoded = Encoded::new();
    // One byte of data with many ends: each record counts 8 bytes.
    let ends = vec![0; BATCH_BYTES_MAX / RECORD_HEADER_BYTES + 1];
    let error = encoded.extend_packed(b"", &ends).expect_err("over 1 GiB");
    assert!(error.kind() == Kind::InvalidArgument && error.message().contains("1 GiB"), "{error}");
    assert_eq!((encoded.len(), encoded.open.used_bytes()), (0, 0));
}

#[test]
fn cleared_batch_has_no_records_and_can_be_filled_again() {
    let mut encoded = Encoded::with_part_bytes(20);
    (0..3).for_each(|_| encoded.push(b"0123456789").expect("small"));
    assert_eq!((encoded.len(), encoded.parts()), (3, 3));
    encoded.clear();
    assert_eq!((encoded.len(), encoded.bytes(), encoded.parts()), (0, 0, 0));
    encoded.push(b"again").expect("small");
    assert_eq!(take_all(&mut encoded, 20).0, [b"again"]);
}

#[test]
fn batch_up_to_the_limit_is_one_part() {
    let mut encoded = Encoded::new();
    (0..1 << 10).for_each(|_| encoded.push(&[7; (1 << 10) - 8]).expect("small"));
    assert_eq!((encoded.bytes(), encoded.parts()), (1 << 20, 1));
    encoded.push(b"").expect("small");
    assert_eq!(encoded.parts(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<u8>),
    Extend(Vec<Vec<u8>>),
    TakeAndPutBack,
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let payload = || vec(any::<u8>(), 0..60);
    let step = prop_oneof![
        4 => payload().prop_map(Step::Push),
        2 => vec(payload(), 0..20).prop_map(Step::Extend),
        1 => Just(Step::TakeAndPutBack),
        1 => Just(Step::Take),
    ];
    vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However records come in and parts go out, every record leaves once, in order, in
    /// parts of the right size, and the numbers are right.
    #[test]
    fn every_record_leaves_once_and_in_order(
        steps in steps(),
        part_bytes in 1usize..300,
        server_bytes in 1usize..300,
    ) {
        let mut encoded = Encoded::with_part_bytes(part_bytes);
        let (mut expected, mut taken) = (Vec::new(), Vec::new());
        let records_of = |part: Part| {
            let mut one = Encoded::new();
            one.put_back(part);
            take_all(&mut one, usize::MAX).0
        };
        for step in steps {
            match step {
                Step::Push(payload) => {
                    encoded.push(&payload).expect("small");
                    expected.push(payload);
                }
                Step::Extend(payloads) => {
                    let (data, ends) = packed(&payloads);
                    encoded.extend_packed(&data, &ends).expect("good ends");
                    expected.extend(payloads);
                }
                Step::TakeAndPutBack => if let Some(part) = encoded.take_part(server_bytes) {
                    encoded.put_back(part);
                },
                Step::Take => if let Some(part) = encoded.take_part(server_bytes) {
                    taken.extend(records_of(part));
                },
            }
            let left = &expected[taken.len()..];
            prop_assert_eq!(encoded.len(), left.len());
            prop_assert_eq!(encoded.bytes(), left.iter().map(|payload| 8 + payload.len()).sum::<usize>());
        }
        let (rest, largest) = take_all(&mut encoded, server_bytes);
        prop_assert!(largest <= part_bytes.min(server_bytes));
        taken.extend(rest);
        prop_assert_eq!(taken, expected);
    }
}
