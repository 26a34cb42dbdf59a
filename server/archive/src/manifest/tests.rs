//! Manifests and pages survive encoding, and no damaged one is decoded.

use proptest::prelude::*;

use super::*;

fn entry(base: u64, epoch: u32) -> Entry {
    Entry {
        base: Position(base),
        end: Position(base + 10),
        bytes: 4096,
        record_bytes: 1000,
        first_timestamp_us: 1,
        last_timestamp_us: 2,
        seal_crc: 3,
        file_crc: 4,
        epoch,
        home: LogId(7),
    }
}

fn manifest(entries: u64) -> Manifest {
    let owner = Owner { id: 1, name: "a".to_owned() };
    let name = "log".parse().expect("a name");
    let mut manifest = Manifest::new(name, LogId(7), LogConfig::default(), 3, owner);
    for i in 0..entries {
        manifest.add(entry(i * 10, 3));
    }
    manifest
}

#[test]
fn manifest_of_version_1_has_these_bytes() {
    let mut manifest = manifest(1);
    manifest.write_id = 0x0102;
    manifest.lineage = Lineage::default().restored(LogId(6), Position(5));
    manifest.deleted_us = Some(9);
    let garbage = Garbage {
        kind: GarbageKind::Page,
        base: Position(1),
        end: Position(2),
        epoch: 1,
        since_us: 8,
    };
    manifest.garbage = vec![garbage];
    let bytes = manifest.encode();
    assert_eq!(bytes.len(), 12 + 16 + 4 + 16 + 64 + 28 + 4 + 16 + 16 + 2 + 8 + 9 + 4 + 84 + 33);
    assert_eq!(&bytes[..4], b"STXM");
    assert_eq!(bytes[8..12], [0, 0, 0, 1]);
    assert_eq!(bytes[26..32], [1, 2, 3, b'l', b'o', b'g']);
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
}

proptest! {
    #[test]
    fn changed_and_cut_manifests_are_damaged(at in 0_usize..400, bit in 0_u8..8) {
        let bytes = manifest(2).encode();
        let mut changed = bytes.to_vec();
        let at = at % bytes.len();
        changed[at] ^= 1 << bit;
        prop_assert_eq!(Manifest::decode(&changed), Err(Unusable::Damaged));
        prop_assert_eq!(Manifest::decode(&bytes[..at]), Err(Unusable::Damaged));
    }

    #[test]
    fn arbitrary_fields_with_a_valid_checksum_are_decoded_or_refused(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let body = [&VERSION.to_be_bytes()[..], &body].concat();
        let bytes = [&MAGIC[..], &crc32fast::hash(&body).to_be_bytes(), &body].concat();
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(&manifest.encode()[..], &bytes[..]);
        }
    }
}

#[test]
fn newer_versions_are_told_from_damage() {
    let mut bytes = manifest(1).encode().to_vec();
    bytes[11] = 2;
    let crc = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(Manifest::decode(&bytes), Err(Unusable::Newer(2)));
}

#[test]
fn manifests_with_a_gap_are_refused() {
    let mut manifest = manifest(1);
    manifest.entries.push(entry(20, 3));
    assert_eq!(Manifest::decode(&manifest.encode()), Err(Unusable::Damaged));
}

#[test]
fn old_entries_become_pages_and_expire_with_them() {
    let mut manifest = manifest(SPILL_AT as u64 - 1);
    assert_eq!(manifest.spill(), None);
    manifest.add(entry((SPILL_AT as u64 - 1) * 10, 3));
    let (page, bytes) = manifest.spill().expect("a page");
    let paged = page::decode(&bytes).expect("a page");
    assert_eq!((paged.len(), manifest.entries.len()), (page::ENTRIES, 128));
    assert_eq!(manifest.size(), (SPILL_AT as u64, SPILL_AT as u64 * 4096));
    assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    assert!(bytes.len() as u64 <= page::BYTES_MAX);

    let middle = Position(page.end.0 - 10);
    assert_eq!(manifest.raise_start(middle), []);
    assert_eq!(manifest.raise_start(page.end), [page]);
    assert!(manifest.expire_page(page, &paged));
    assert_eq!(manifest.garbage.len(), page::ENTRIES + 1);
    assert_eq!(manifest.raise_start(Position(page.end.0 + 15)), []);
    assert_eq!((manifest.garbage.len(), manifest.entries.len()), (page::ENTRIES + 2, 127));
    assert_eq!(manifest.start, Position(page.end.0 + 15));
}

#[test]
fn objects_of_the_original_log_never_become_garbage() {
    let mut manifest = manifest(0);
    manifest.add(Entry { home: LogId(6), ..entry(0, 1) });
    manifest.add(entry(10, 3));
    manifest.raise_start(Position(20));
    assert_eq!(manifest.entries, []);
    assert_eq!(manifest.garbage.len(), 1);
    assert_eq!(manifest.garbage[0].base, Position(10));
}

#[test]
fn archived_segment_is_added_once() {
    let mut manifest = manifest(2);
    manifest.add(entry(10, 5));
    assert_eq!(manifest.entries, [entry(0, 3), entry(10, 3)]);
}
