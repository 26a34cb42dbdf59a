//! Damaged bytes: they are requested once more and then reported, with their position.

use styx_client::{Code, Error, Kind};
use styx_protocol::block::Header;

use crate::log::{Log, Record};
use crate::peer::{Connection, Peer};
use crate::{client, wait};

/// Reads ten records, each in a block of its own, from a peer that `serve` controls.
/// Returns the records, the error and the number of connections.
fn read(
    serve: impl Fn(Connection, &Log) + Send + Sync + 'static,
) -> (Vec<Record>, Option<Error>, usize) {
    let log = Log::of(10, 1);
    let peer = Peer::start(move |connection| serve(connection, &log));
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    let mut records = Vec::new();
    let error = loop {
        match wait(consumer.next_batch()) {
            Ok(Some(batch)) => records.extend(crate::seen(&batch)),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert_eq!(consumer.position(), records.len() as u64);
    (records, error, peer.requests().len())
}

/// The log with one flipped bit in the payload of the block at `position`.
fn damaged(log: &Log, position: usize) -> Log {
    let mut log = log.clone();
    let mut body = log.blocks[position].1.to_vec();
    *body.last_mut().expect("a payload") ^= 1;
    log.blocks[position].1 = body.into();
    log
}

fn without(log: &Log, position: usize) -> Log {
    let mut log = log.clone();
    log.blocks.remove(position);
    log
}

#[test]
fn damage_in_transit_is_retried() {
    let (records, error, connections) = read(|connection, log| match connection.number {
        0 => connection.serve(&damaged(log, 4), usize::MAX),
        1 => connection.serve(&damaged(log, 7), usize::MAX),
        2 => connection.serve(&without(log, 8), usize::MAX),
        _ => connection.serve(log, usize::MAX),
    });
    assert!(error.is_none(), "{error:?}");
    assert_eq!((records, connections), (Log::of(10, 1).records(0, 10), 4));
}

#[test]
fn repeated_damage_is_a_corrupt_record_at_its_position() {
    let (records, error, connections) =
        read(|connection, log| connection.serve(&damaged(log, 4), usize::MAX));
    let error = error.expect("damaged");
    assert_eq!(records, Log::of(10, 1).records(0, 4), "those before it are good");
    assert_eq!((error.kind(), error.is_retriable()), (Kind::Code(Code::CorruptRecord), false));
    assert_eq!((error.facts().position, connections), (Some(4), 2), "there is no third try");
}

#[test]
fn repeatedly_damaged_header_is_a_corrupt_record() {
    let (records, error, connections) = read(|mut connection, log| {
        let position = connection.position(log);
        connection.agree(log, position);
        let mut bytes = log.frames(position, 10);
        // The second block's header, after the filler.
        let second = 8 + 96 + log.blocks[0].1.len() + 96 + 30;
        if position == 0 {
            bytes[second] ^= 1;
        } else {
            bytes[8 + 96 + 30] ^= 1;
        }
        connection.write(&bytes);
        connection.wait_for_end();
    });
    let error = error.expect("damaged");
    assert_eq!((records.len(), error.kind()), (1, Kind::Code(Code::CorruptRecord)));
    assert_eq!((error.facts().position, connections), (Some(1), 2));
}

#[test]
fn missing_records_are_detected() {
    let (records, error, connections) =
        read(|connection, log| connection.serve(&without(log, 4), usize::MAX));
    let error = error.expect("a gap");
    assert_eq!((records.len(), error.kind()), (4, Kind::BadAnswer));
    assert_eq!((error.facts().position, connections), (Some(4), 2));
}

/// A server that repeats records violates the protocol. The repeated records are not
/// returned again, and the read continues on another connection.
#[test]
fn records_sent_twice_are_returned_once() {
    let (records, error, connections) = read(|mut connection, log| {
        let position = connection.position(log);
        connection.agree(log, position);
        connection.send_blocks(log, position, position + 4);
        connection.send_blocks(log, position + 3, 10);
        connection.wait_for_end();
    });
    assert!(error.is_none(), "{error:?}");
    assert_eq!((records, connections), (Log::of(10, 1).records(0, 10), 3));
}

#[test]
fn block_of_a_later_version_is_not_reported_as_damaged() {
    let (records, error, connections) = read(|mut connection, log| {
        let position = connection.position(log);
        connection.agree(log, position);
        connection.send_blocks(log, position, 2);
        let mut header = Header { base_position: 2, ..Header::default() }.encode().0;
        header[9] = 9;
        let crc = crc32(&header[8..]);
        header[4..8].copy_from_slice(&crc.to_be_bytes());
        connection.write(&styx_protocol::frame::blocks_header(96));
        connection.write(&header);
        connection.wait_for_end();
    });
    let error = error.expect("unknown");
    assert_eq!((records.len(), error.kind(), connections), (2, Kind::BadAnswer, 2));
    assert!(error.message().contains("codec 9"), "{error}");
}

#[test]
fn bytes_that_are_not_frames_are_an_error() {
    let (records, error, connections) = read(|mut connection, log| {
        let position = connection.position(log);
        connection.agree(log, position);
        connection.send_blocks(log, position, 2);
        connection.write(b"HTTP/1.1 500 Oh\r\n\r\n");
        connection.wait_for_end();
    });
    let error = error.expect("no frames");
    assert_eq!((records.len(), error.kind(), connections), (2, Kind::BadAnswer, 2));
}

fn crc32(bytes: &[u8]) -> u32 {
    // A record's checksum covers its size and payload; split this way, it is any CRC.
    let (size, payload) = bytes.split_first_chunk().expect("a header");
    styx_protocol::record::checksum(*size, payload)
}
