//! [`Ack`]: which records of a producer's stream are durable, and where.

use bytes::{Buf, BufMut, BytesMut};

use super::{Error, FrameHeader, Kind};
use crate::Position;
use crate::limits::ACK_RUNS_MAX;

const COUNT_BYTES: usize = 8;
const RUN_BYTES: usize = 12;

/// Records that are consecutive both in the stream and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRun {
    /// Position of the first record.
    pub base: Position,
    /// Number of records, at least one.
    pub count: u32,
}

impl AckRun {
    /// The position after the last record.
    #[must_use]
    pub fn end(&self) -> Position {
        self.base + u64::from(self.count)
    }
}

/// The records that have become durable since the previous ack.
///
/// Runs are in the order of the stream. A block that was sent again has the positions of
/// its first append, which may be before those of earlier runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// All durable records of this stream, including these.
    pub count: u64,
    /// The positions of these records.
    pub runs: Vec<AckRun>,
}

pub(super) fn takes(size: u64) -> bool {
    let (head, run) = (COUNT_BYTES as u64, RUN_BYTES as u64);
    let runs = size.saturating_sub(head) / run;
    size == head + runs * run && (1..=ACK_RUNS_MAX as u64).contains(&runs)
}

impl Ack {
    /// Adds records that have become durable; a `count` of 0 adds nothing. Records that
    /// follow the last run extend it.
    pub fn add(&mut self, base: Position, count: u32) {
        if count == 0 {
            return;
        }
        self.count += u64::from(count);
        match self.runs.last_mut().filter(|last| last.end() == base) {
            Some(last) if last.count.checked_add(count).is_some() => last.count += count,
            _ => self.runs.push(AckRun { base, count }),
        }
    }

    /// Whether there are no runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends the frame: several if there are more than [`ACK_RUNS_MAX`] runs, none if
    /// there are no runs. Clears the runs and keeps the count.
    pub fn encode(&mut self, out: &mut BytesMut) {
        let added: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        let mut count = self.count.saturating_sub(added);
        for runs in self.runs.chunks(ACK_RUNS_MAX) {
            count += runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
            FrameHeader::put(Kind::Ack, 0, COUNT_BYTES + RUN_BYTES * runs.len(), out);
            out.put_u64(count);
            for run in runs {
                out.put_u64(run.base.0);
                out.put_u32(run.count);
            }
        }
        self.runs.clear();
    }

    /// Reads a body whose size was checked. `before` is the count of the previous ack.
    pub(super) fn decode(mut body: &[u8], before: u64) -> Result<Ack, Error> {
        let wrong = |field, value| Error::Field { kind: Kind::Ack, field, value };
        let count = body.try_get_u64().map_err(|_| Error::Cut)?;
        let mut runs = Vec::with_capacity(body.len() / RUN_BYTES);
        let mut total = before;
        while let (Ok(base), Ok(count)) = (body.try_get_u64(), body.try_get_u32()) {
            if count == 0 {
                return Err(wrong("run's count", 0));
            }
            let end = base.checked_add(count.into());
            end.ok_or(wrong("run's base position", base))?;
            total = total.saturating_add(count.into());
            runs.push(AckRun { base: Position(base), count });
        }
        if total != count {
            return Err(wrong("count", count));
        }
        Ok(Ack { count, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_records_extend_the_last_run() {
        let mut ack = Ack::default();
        ack.add(Position(10), 5);
        ack.add(Position(15), 1);
        ack.add(Position(20), 0);
        ack.add(Position(3), 2);
        assert_eq!(ack.count, 8);
        let runs = [(10, 6), (3, 2)].map(|(base, count)| AckRun { base: Position(base), count });
        assert_eq!(ack.runs, runs);
        ack.add(Position(5), u32::MAX);
        assert_eq!(ack.runs.len(), 3, "a run's count does not overflow");
    }

    #[test]
    fn too_many_runs_are_split_into_frames() {
        let mut ack = Ack { count: 100, runs: Vec::new() };
        for i in 0..ACK_RUNS_MAX as u64 + 1 {
            ack.add(Position(i * 10), 2);
        }
        let mut out = BytesMut::new();
        ack.encode(&mut out);
        assert!(ack.is_empty());
        let (first, second) = (100 + 2 * ACK_RUNS_MAX as u64, 102 + 2 * ACK_RUNS_MAX as u64);
        assert_eq!(ack.count, second);
        let mut out = out.freeze();
        let mut next = |before| {
            let header = out.split_to(8)[..].try_into().expect("8 bytes");
            let header = FrameHeader::decode(header).expect("is good");
            Ack::decode(&out.split_to(header.size as usize), before).expect("is good")
        };
        let acks = [next(100), next(first)];
        assert_eq!(acks.each_ref().map(|ack| ack.count), [first, second]);
        assert_eq!(acks.each_ref().map(|ack| ack.runs.len()), [ACK_RUNS_MAX, 1]);
        assert!(out.is_empty());
    }
}
