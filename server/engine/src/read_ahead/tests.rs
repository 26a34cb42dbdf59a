#![allow(clippy::disallowed_methods, reason = "tests write real files")]

use std::path::Path;

use super::*;
use crate::storage::{RealStorage, Storage};

/// A file of this many random bytes.
fn file(directory: &Path, len: usize) -> (Arc<dyn File>, Vec<u8>) {
    let path = directory.join("file");
    let number = |n: usize| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    let content: Vec<u8> = (0..len.div_ceil(8)).flat_map(number).take(len).collect();
    std::fs::write(&path, &content).expect("written");
    let file = RealStorage.open(&path, crate::storage::Access::Read).expect("it opens");
    (file, content)
}

fn piece(file: &Arc<dyn File>, content: &[u8], index: u64) -> Piece {
    let begin = usize::try_from(index).expect("small") * PIECE_BYTES;
    Piece { file: Arc::clone(file), index, len: PIECE_BYTES.min(content.len() - begin) }
}

fn is_ready(ahead: &ReadAhead, piece: &Piece) -> bool {
    matches!(ahead.try_get(piece), Lookup::Ready(_))
}

#[test]
fn pieces_are_the_bytes_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), 2 * PIECE_BYTES + 12_345);
    let ahead = ReadAhead::new(8 * PIECE_BYTES, true);
    for (index, expected) in (0..).zip(content.chunks(PIECE_BYTES)) {
        let piece = piece(&file, &content, index);
        assert!(matches!(ahead.try_get(&piece), Lookup::Absent));
        assert!(ahead.get(&piece).expect("it is read") == expected);
        assert!(is_ready(&ahead, &piece));
    }
}

#[test]
fn prefetched_piece_is_read_once_for_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), PIECE_BYTES);
    let ahead = ReadAhead::new(PIECE_BYTES, true);
    let piece = piece(&file, &content, 0);
    ahead.prefetch(&piece);
    assert!(!matches!(ahead.try_get(&piece), Lookup::Absent));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            // There is memory for one piece only, so a second read would fail.
            scope.spawn(|| assert!(ahead.get(&piece).is_some_and(|bytes| bytes == content)));
        }
    });
}

/// Regression test: a reader waited for ever for a thread that did not exist.
#[test]
fn without_threads_nothing_is_read_in_advance() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), PIECE_BYTES);
    let ahead = ReadAhead::new(PIECE_BYTES, false);
    let piece = piece(&file, &content, 0);
    ahead.prefetch(&piece);
    assert!(matches!(ahead.try_get(&piece), Lookup::Absent));
    assert!(ahead.get(&piece).is_some_and(|bytes| bytes == content));
}

#[test]
fn oldest_piece_makes_room_unless_it_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), 4 * PIECE_BYTES);
    let ahead = ReadAhead::new(2 * PIECE_BYTES, true);
    let pieces = [0, 1, 2, 3].map(|index| piece(&file, &content, index));
    let held = ahead.get(&pieces[0]).expect("read");
    drop(ahead.get(&pieces[1]).expect("read"));
    assert!(is_ready(&ahead, &pieces[0]), "it is used again, so the other is older");
    drop(ahead.get(&pieces[2]).expect("read"));
    assert_eq!(pieces.each_ref().map(|p| is_ready(&ahead, p)), [true, false, true, false]);
    let second = ahead.get(&pieces[2]).expect("ready");
    assert!(ahead.get(&pieces[3]).is_none(), "all memory is in use");
    assert!(held == content[..PIECE_BYTES] && second == content[2 * PIECE_BYTES..3 * PIECE_BYTES]);
    drop((held, second));
    assert!(ahead.get(&pieces[3]).is_some());
}

#[test]
fn piece_that_was_not_used_yet_gives_way_only_to_a_reader_that_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), 4 * PIECE_BYTES);
    let ahead = ReadAhead::new(2 * PIECE_BYTES, true);
    let pieces = [0, 1, 2, 3].map(|index| piece(&file, &content, index));
    let is_there = |piece| !lock(&ahead.shared.state).is_absent(piece);
    ahead.prefetch(&pieces[0]);
    ahead.prefetch(&pieces[1]);
    // Not by `get`, which would use them.
    while lock(&ahead.shared.state).files[0].slots.values().any(|s| matches!(s, Slot::Reading)) {
        std::thread::yield_now();
    }
    ahead.prefetch(&pieces[2]);
    assert_eq!(pieces.each_ref().map(is_there), [true, true, false, false]);
    drop(ahead.get(&pieces[1]).expect("ready"));
    ahead.prefetch(&pieces[2]);
    assert_eq!(pieces.each_ref().map(is_there), [true, false, true, false]);
    drop(ahead.get(&pieces[3]).expect("read"));
    assert!(is_there(&pieces[3]));
}

#[test]
fn used_pieces_are_evicted_before_new_memory_is_filled() {
    let directory = tempfile::tempdir().expect("a directory");
    let count = USED_KEPT + 6;
    let (file, content) = file(directory.path(), count * PIECE_BYTES);
    let ahead = ReadAhead::new(2 * count * PIECE_BYTES, true);
    let pieces: Vec<_> = (0..count).map(|index| piece(&file, &content, index as u64)).collect();
    for piece in &pieces {
        drop(ahead.get(piece).expect("read"));
    }
    let ready = pieces.iter().filter(|piece| is_ready(&ahead, piece)).count();
    assert_eq!(ready, USED_KEPT + 1);
    assert!(is_ready(&ahead, &pieces[count - 1]), "the newest are kept");
}

#[test]
fn unused_pieces_are_freed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), PIECE_BYTES);
    let ahead = ReadAhead::new(2 * PIECE_BYTES, true);
    assert!(!ahead.is_active());
    let piece = piece(&file, &content, 0);
    drop(ahead.get(&piece).expect("read"));
    ahead.free_unused();
    assert!(ahead.is_active() && is_ready(&ahead, &piece), "it was used since the last look");
    ahead.free_unused();
    assert!(is_ready(&ahead, &piece), "likewise");
    ahead.free_unused();
    ahead.free_unused();
    assert!(!ahead.is_active());
    assert_eq!(Arc::strong_count(&file), 2, "only this test has the file, and a piece of it");
}

#[test]
fn longer_piece_of_a_growing_file_is_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), PIECE_BYTES);
    let ahead = ReadAhead::new(2 * PIECE_BYTES, true);
    let whole = piece(&file, &content, 0);
    let begin = Piece { len: 5000, ..whole.clone() };
    assert!(ahead.get(&begin).expect("read") == content[..5000]);
    assert!(!is_ready(&ahead, &whole));
    assert!(ahead.get(&whole).expect("read") == content);
    assert!(ahead.get(&begin).expect("a part of it") == content[..5000]);
}

#[test]
fn piece_beyond_the_end_of_the_file_is_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, content) = file(directory.path(), 10_000);
    let ahead = ReadAhead::new(2 * PIECE_BYTES, true);
    let piece = Piece { len: 20_000, ..piece(&file, &content, 0) };
    assert!(ahead.get(&piece).is_none());
    assert!(matches!(ahead.try_get(&piece), Lookup::Absent), "nobody waits for it");
}
