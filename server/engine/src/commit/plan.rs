//! A plan: what becomes of each append of a group, and the blocks to be written.
//!
//! ```text
//! items ─judge─▶ refused | repeated | appended ─▶ [header|records][header|records]…
//! ```
//!
//! Appends that name no producer share a block up to its bound; those that do
//! get blocks of their own, because the header names one producer. A plan
//! changes nothing but itself: the end of the log moves when it was written.

use std::collections::HashMap;

use bytes::Bytes;
use styx_protocol::block::{Flags, Header};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use styx_protocol::{Position, Records};

use super::end::{Cursor, End};
use super::queue::Item;
use crate::append::Appended;
use crate::producers::{State, Verdict, judge};
use crate::segment::index::{Entry, Spacing};
use crate::{Error, Producer};

/// Where groups begin on media that may tear a sector.
const PAD_BYTES: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    end: &'a End,
    timestamp_us: u64,
    durable: Position,
    bytes: Vec<u8>,
    open: Option<OpenBlock>,
    /// The position after everything planned; the cursor lags an open block.
    position: Position,
    cursor: Cursor,
    spacing: Spacing,
    entries: Vec<Entry>,
    producers: HashMap<u64, State>,
    answers: Vec<(Item, Result<Appended, Error>)>,
}

#[derive(Debug)]
struct OpenBlock {
    at: usize,
    count: u32,
    producer: Option<(Producer, u32)>,
}

/// A finished plan.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) bytes: Bytes,
    pub(crate) cursor: Cursor,
    pub(crate) spacing: Spacing,
    pub(crate) entries: Vec<Entry>,
    pub(crate) producers: HashMap<u64, State>,
    pub(crate) answers: Vec<(Item, Result<Appended, Error>)>,
}

impl<'a> Plan<'a> {
    /// An empty plan for what comes next at `end`.
    pub(crate) fn new(end: &'a End, stamp_us: u64, durable: Position, bytes: usize) -> Plan<'a> {
        Plan {
            end,
            timestamp_us: stamp_us.max(end.cursor.timestamp_us),
            durable,
            bytes: Vec::with_capacity(bytes),
            open: None,
            position: end.cursor.position,
            cursor: end.cursor,
            spacing: end.spacing.clone(),
            entries: Vec::new(),
            producers: HashMap::new(),
            answers: Vec::new(),
        }
    }

    /// Decides one append.
    pub(crate) fn add(&mut self, item: Item) {
        let answer = self.decide(&item);
        self.answers.push((item, answer));
    }

    fn decide(&mut self, item: &Item) -> Result<Appended, Error> {
        let append = &item.append;
        let count = append.records.count();
        let verdict = match &append.producer {
            None => Verdict::Append { skip: 0, epoch: 0 },
            Some(producer) => judge(self.producer(producer.id), producer, count)?,
        };
        let (skip, epoch) = match verdict {
            Verdict::Append { skip, epoch } => (skip, epoch),
            Verdict::Repeated { end } => {
                return Ok(Appended { end: end.unwrap_or_default(), count: 0 });
            }
        };
        if let Some(expected) = append.expected
            && expected + u64::from(skip) != self.position
        {
            return Err(Error::PositionMismatch { expected, end: self.position });
        }
        match &append.producer {
            None => self.put(&append.records, None),
            Some(producer) => {
                let sequence = producer.sequence + u64::from(skip);
                let rest = append.records.skip(skip);
                self.put(&rest, Some((Producer { sequence, ..*producer }, epoch)));
            }
        }
        Ok(Appended { end: self.position, count: count - skip })
    }

    fn producer(&mut self, id: u64) -> Option<&State> {
        // What this plan appends for a producer shows only once its block is
        // closed.
        if self.open.as_ref().is_some_and(|open| open.producer.is_some()) {
            self.close_block();
        }
        self.producers.get(&id).or_else(|| self.end.producers.get(id))
    }

    fn put(&mut self, records: &Records, producer: Option<(Producer, u32)>) {
        let len = records.bytes().len();
        let joins = producer.is_none()
            && self.open.as_ref().is_some_and(|open| {
                open.producer.is_none()
                    && self.bytes.len() - open.at - BLOCK_HEADER_BYTES + len <= BLOCK_RAW_BYTES_MAX
            });
        if !joins {
            self.close_block();
            self.open = Some(OpenBlock { at: self.bytes.len(), count: 0, producer });
            self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        }
        self.bytes.extend_from_slice(records.bytes());
        if let Some(open) = &mut self.open {
            open.count += records.count();
        }
        self.position = self.position + u64::from(records.count());
    }

    fn header(&self, flags: Flags, body: &[u8]) -> Header {
        let size = u32::try_from(body.len()).expect("a block is smaller than 4 GiB");
        Header {
            body_size: size,
            raw_size: size,
            body_crc: crc32fast::hash(body),
            prev_crc: self.cursor.prev_crc,
            base_position: self.cursor.position.0,
            durable_position: self.durable.0,
            ..self.end.marker(flags, self.timestamp_us)
        }
    }

    fn close_block(&mut self) {
        let Some(open) = self.open.take() else { return };
        let body = &self.bytes[open.at + BLOCK_HEADER_BYTES..];
        let mut header = Header { count: open.count, ..self.header(Flags::NONE, body) };
        if let Some((producer, epoch)) = open.producer {
            header.producer_id = producer.id;
            header.sequence = producer.sequence;
            header.producer_epoch = epoch;
        }
        let (encoded, crc) = header.encode();
        self.bytes[open.at..open.at + BLOCK_HEADER_BYTES].copy_from_slice(&encoded);
        self.entries.extend(self.spacing.entry(self.cursor.offset, &header, crc));
        self.cursor.pass(&header, crc);
        if let Some((producer, _)) = open.producer {
            let known = self.producers.get(&producer.id);
            let known = known.or_else(|| self.end.producers.get(producer.id));
            let mut state = known.cloned().unwrap_or_default();
            state.append(&header);
            self.producers.insert(producer.id, state);
        }
    }

    /// A filler up to the next 4 KiB boundary.
    fn pad(&mut self) {
        let past = self.cursor.offset % PAD_BYTES;
        if self.bytes.is_empty() || past == 0 {
            return;
        }
        let header_bytes = BLOCK_HEADER_BYTES as u64;
        let mut total = PAD_BYTES - past;
        if total < header_bytes {
            total += PAD_BYTES;
        }
        let body = vec![0; usize::try_from(total - header_bytes).expect("under 8 KiB")];
        let header = self.header(Flags::FILLER, &body);
        let (encoded, crc) = header.encode();
        self.bytes.extend_from_slice(&encoded);
        self.bytes.extend_from_slice(&body);
        self.cursor.pass(&header, crc);
    }

    /// The bytes to write and where they lead.
    pub(crate) fn finish(mut self, pad: bool) -> Planned {
        self.close_block();
        if pad {
            self.pad();
        }
        Planned {
            bytes: Bytes::from(self.bytes),
            cursor: self.cursor,
            spacing: self.spacing,
            entries: self.entries,
            producers: self.producers,
            answers: self.answers,
        }
    }
}
