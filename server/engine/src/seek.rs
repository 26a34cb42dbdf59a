//! Resolves a [`Seek`] to a position in the published part of a log.
//!
//! A time in an evicted segment needs the object store, so a search may have to be repeated.
//! Invariant: the result is between the start position and the durable end, both included.

use std::sync::Arc;

use styx_protocol::Position;

use crate::archive::remote_file;
use crate::log::LogInner;
use crate::segment::index::{IndexRange, SearchKey};
use crate::segment::walk::{Bodies, ChainStart, Walk};
use crate::storage::DiskWait;
use crate::tail::View;
use crate::{Error, Fetch, Found, Seek};

/// Returns the position that a seek selects, or [`Found::NeedsStore`].
///
/// # Errors
/// The position is outside the log, the log was removed or closed, or a file cannot be read.
pub(crate) fn resolve(log: &Arc<LogInner>, to: Seek) -> Result<Found<Position>, Error> {
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
    let inside = position.filter(|position| (start..=end).contains(position));
    inside.map(Found::Some).ok_or(Error::OutOfRange { asked, start, end })
}

/// Returns the position of the first record that was appended at or after a time. Selects the
/// segment by the time of its newest record, searches its index, and reads block headers from
/// there.
fn at_time(log: &Arc<LogInner>, view: &View, time_us: u64) -> Result<Found<Position>, Error> {
    let before = view.segments.partition_point(|segment| match segment.summary() {
        Some(sealed) => sealed.last_timestamp_us < time_us,
        // An empty newest segment begins at the durable end, which is the result if all older
        // records are too old.
        None => view.durable.record_bytes > 0 && view.durable.last_timestamp_us < time_us,
    });
    let Some(segment) = view.segments.get(before) else {
        return Ok(Found::Some(view.durable.position));
    };
    let failed = |error| Error::io("cannot read", &segment.path)(error);
    let mut file = log.services.open_segments.file(segment).map_err(failed)?;
    let range = segment.find(SearchKey::Time(time_us), DiskWait::Allowed).map_err(failed)?;
    if range.is_none()
        && let Some(fetch) = Fetch::index(log, segment.base, segment)
    {
        return Ok(Found::NeedsStore(fetch));
    }
    if range.is_none() && file.is_remote() && !segment.has_index() {
        // Without an index, the search reads the whole segment, which the cache may not hold.
        file = segment.file().map_err(failed)?;
    }
    let chain_start = ChainStart { base: segment.base, prev_crc: None };
    let mut walk = Walk::new(&*file, view.readable_bytes(segment), chain_start, Bodies::Skip);
    if let Some(IndexRange { from, .. }) = range {
        walk.begin_at(from.offset, from.position);
    }
    loop {
        match walk.step() {
            Ok(Ok(block)) if block.header.is_marker() || block.header.timestamp_us < time_us => {}
            Ok(Ok(block)) => return Ok(Found::Some(Position(block.header.base_position))),
            Ok(Err(_)) => return Ok(Found::Some(walk.position())),
            Err(error) => match remote_file::needed(&error) {
                Some(needs) => {
                    let fetch = Fetch::begin(log, walk.position(), segment, needs, 0);
                    return Ok(Found::NeedsStore(fetch));
                }
                None => return Err(failed(error)),
            },
        }
    }
}
