//! From "where" to a position.

use styx_protocol::Position;

use crate::log::Inner;
use crate::segment::index::{Key, Stretch};
use crate::segment::walk::{Bodies, Expect, Walk};
use crate::storage::Disk;
use crate::tail::View;
use crate::{Error, Seek};

pub(crate) fn resolve(log: &Inner, to: Seek) -> Result<Position, Error> {
    let view = log.tail.live_view()?;
    let (start, end) = (view.start(), view.durable.position);
    let (base, by) = match to {
        Seek::Origin(by) => (Position::ORIGIN, by),
        Seek::Start(by) => (start, by),
        Seek::End(by) => (end, by),
        Seek::Time(time_us) => return at_time(log, &view, time_us),
    };
    let asked = i128::from(base.0) + i128::from(by);
    let position = u64::try_from(asked).ok().map(Position);
    position.filter(|position| (start..=end).contains(position)).ok_or(Error::OutOfRange {
        asked,
        start,
        end,
    })
}

/// The first record appended at or after a time: the segment by its newest
/// record, the block by the index, then block headers.
fn at_time(log: &Inner, view: &View, time_us: u64) -> Result<Position, Error> {
    let before = view.segments.partition_point(|segment| match segment.summary() {
        Some(sealed) => sealed.last_timestamp_us < time_us,
        // An empty newest segment begins at the end, which is right when all
        // older records are too old.
        None => view.durable.record_bytes > 0 && view.durable.last_timestamp_us < time_us,
    });
    let Some(segment) = view.segments.get(before) else {
        return Ok(view.durable.position);
    };
    let failed = |error| Error::io("cannot read", &segment.path)(error);
    let file = log.services.open_segments.file(segment).map_err(failed)?;
    let stretch = segment.find(Key::Time(time_us), Disk::May).map_err(failed)?;
    let expect = Expect { base: segment.base, prev_crc: None };
    let mut walk = Walk::new(&*file, view.readable_bytes(segment), expect, Bodies::Skip);
    if let Some(Stretch { from, .. }) = stretch {
        walk.begin_at(from.offset, from.position);
    }
    while let Ok(block) = walk.step().map_err(failed)? {
        if !block.header.is_marker() && block.header.timestamp_us >= time_us {
            return Ok(Position(block.header.base_position));
        }
    }
    Ok(walk.position())
}
