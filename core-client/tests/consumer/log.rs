//! A peer's log: stored blocks and their records.

use bytes::{Bytes, BytesMut};
use styx_protocol::block::{self, Header, Origin};
use styx_protocol::{Codec, LogId, Records, frame, record};

/// The most bytes of blocks in one frame, unless it is a single block.
const FRAME_BYTES: usize = 4096;

/// Consecutive blocks.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) blocks: Vec<(Header, Bytes)>,
    start: u64,
    records: Vec<Record>,
}

/// A record's position, timestamp and payload.
pub(crate) type Record = (u64, u64, Vec<u8>);

impl Log {
    pub(crate) fn new(id: u128, start: u64) -> Log {
        Log { id: LogId(id), blocks: Vec::new(), start, records: Vec::new() }
    }

    /// A log of `count` small records from position 0, with `each` records per block.
    pub(crate) fn of(count: u64, each: usize) -> Log {
        let mut log = Log::new(7, 0);
        let payloads: Vec<Vec<u8>> = (0..count).map(|i| format!("{i}").into_bytes()).collect();
        payloads.chunks(each).for_each(|chunk| log.append(Codec::None, chunk));
        log
    }

    /// Appends a block with a timestamp 1 µs after the previous one.
    pub(crate) fn append(&mut self, codec: Codec, payloads: &[Vec<u8>]) {
        let (base, now) = (self.end(), self.blocks.len() as u64);
        let sent = block::build_with(codec, None, &records(payloads), Origin::default());
        let (header, _) = Header::decode(&sent).expect("is good");
        let header = Header { base_position: base, timestamp_us: now, ..header };
        self.blocks.push((header, sent.slice(96..)));
        for (position, payload) in (base..).zip(payloads) {
            self.records.push((position, now, payload.clone()));
        }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    /// The records at these positions.
    pub(crate) fn records(&self, from: u64, until: u64) -> Vec<Record> {
        let wanted = |record: &&Record| (from..until).contains(&record.0);
        self.records.iter().filter(wanted).cloned().collect()
    }

    /// Frames of the blocks with these positions, including the markers before them.
    pub(crate) fn frames(&self, from: u64, until: u64) -> BytesMut {
        let mut out = BytesMut::new();
        let mut body = filler(from);
        for (header, bytes) in &self.blocks {
            if header.end_position() <= from || header.base_position >= until {
                continue;
            }
            if !body.is_empty() && body.len() + 96 + bytes.len() > FRAME_BYTES {
                put_frame(&mut body, &mut out);
            }
            body.extend_from_slice(&header.encode().0);
            body.extend_from_slice(bytes);
        }
        put_frame(&mut body, &mut out);
        out
    }
}

fn records(payloads: &[Vec<u8>]) -> Records {
    if let [payload] = payloads {
        return Records::one(payload);
    }
    let mut builder = record::Builder::new();
    payloads.iter().for_each(|payload| assert!(builder.push(payload), "they fit one block"));
    builder.take()
}

fn put_frame(body: &mut BytesMut, out: &mut BytesMut) {
    out.extend_from_slice(&frame::blocks_header(body.len()));
    out.unsplit(body.split());
}

/// A filler, as at the start of a segment. Readers skip it.
fn filler(position: u64) -> BytesMut {
    let flags = block::Flags::FILLER;
    let header = Header { flags, base_position: position, ..Header::default() };
    BytesMut::from(&header.encode().0[..])
}
