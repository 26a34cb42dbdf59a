//! [`Space`]: the part of the newest segment's file that is ready to be written.

use super::failure::Failure;
use crate::disk_reserve::FreeSpace;
use crate::segment::name::Offset;
use crate::storage::{File, write_all_at};

/// Prepares the file in front of the end of the log.
///
/// Small commits overwrite zeros that were written before. Then a sync does not have to record
/// a new file size, which is half of its time on ext4. Large commits reserve their space, so a
/// full disk is noticed before the first byte is written.
#[derive(Debug, Default)]
pub(crate) struct Space {
    ready_until: Offset,
    zeros: usize,
}

const SMALL_BYTES: usize = 64 << 10;
const ZEROS_MIN: usize = 64 << 10;
const ZEROS_MAX: usize = 1 << 20;
const RESERVE_AHEAD: u64 = 8 << 20;
static ZEROS: [u8; ZEROS_MAX] = [0; ZEROS_MAX];

impl Space {
    /// Prepares a write of `len` bytes at `offset`, in a segment that grows to about
    /// `segment_bytes_max`. Asks for the `free` space only if it needs new space.
    pub(crate) fn prepare(
        &mut self,
        file: &dyn File,
        offset: Offset,
        len: usize,
        segment_bytes_max: u64,
        free: impl FnOnce() -> FreeSpace,
    ) -> Result<(), Failure> {
        let until = offset + len as u64;
        if until <= self.ready_until {
            return Ok(());
        }
        let free = free();
        if !free.has(len as u64) {
            return Err(Failure::BelowReserve(free));
        }
        let left = segment_bytes_max.saturating_sub(until);
        if len > SMALL_BYTES {
            let ahead = until + RESERVE_AHEAD.min(left);
            if free.has(ahead - offset) && file.reserve(offset, ahead).is_ok() {
                self.ready_until = ahead;
                return Ok(());
            }
            return self.reserve_exactly(file, offset, until);
        }
        self.zeros = (self.zeros * 2).clamp(ZEROS_MIN, ZEROS_MAX);
        let zeros = self.zeros.min(usize::try_from(left).unwrap_or(ZEROS_MAX));
        if zeros == 0 || !free.has((len + zeros) as u64) {
            return self.reserve_exactly(file, offset, until);
        }
        match write_all_at(file, &ZEROS[..zeros], until) {
            Ok(()) => self.ready_until = until + zeros as u64,
            // The commit itself may still fit.
            Err((error, _)) if matches!(Failure::before_writing("", &error), Failure::NoSpace) => {
                return self.reserve_exactly(file, offset, until);
            }
            Err((error, _)) => return Err(Failure::broken("writing zeros", &error)),
        }
        Ok(())
    }
}

impl Space {
    /// Whether space was prepared behind `offset`.
    pub(crate) fn is_ahead_of(&self, offset: Offset) -> bool {
        self.ready_until > offset
    }

    /// Reserves the space of one write, on a disk that is nearly full. Only space that is really
    /// reserved counts as ready: a write that runs out of space half-way would stop the log's
    /// appends.
    fn reserve_exactly(
        &mut self,
        file: &dyn File,
        offset: Offset,
        until: Offset,
    ) -> Result<(), Failure> {
        file.reserve(offset, until)
            .map_err(|error| Failure::before_writing("reserving space", &error))?;
        self.ready_until = until;
        Ok(())
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::storage::{RealStorage, Storage};

    /// Prepares a write at the start of a new file. Returns up to where the space is ready, or the
    /// free space with which the write was refused.
    fn prepare(len: usize, free: FreeSpace) -> Result<Offset, FreeSpace> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("file")).expect("a file");
        let mut space = Space::default();
        match space.prepare(&*file, 0, len, 1 << 30, || free) {
            Ok(()) => Ok(space.ready_until),
            Err(Failure::BelowReserve(free)) => Err(free),
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn space_is_prepared_only_as_far_as_the_reserve_allows() {
        for len in [100, 1 << 20] {
            let bytes = len as u64;
            let ahead = if len > SMALL_BYTES { RESERVE_AHEAD } else { ZEROS_MIN as u64 };
            assert_eq!(prepare(len, FreeSpace::UNLIMITED), Ok(bytes + ahead));
            let enough = FreeSpace::above_the_reserve(bytes + ahead);
            assert_eq!(prepare(len, enough), Ok(bytes + ahead));
            let less = FreeSpace::above_the_reserve(bytes + ahead - 1);
            assert_eq!(prepare(len, less), Ok(bytes), "only the write itself");
            let too_little = FreeSpace::above_the_reserve(bytes - 1);
            assert_eq!(prepare(len, too_little), Err(too_little));
        }
    }

    #[test]
    fn write_into_prepared_space_does_not_ask_for_free_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("file")).expect("a file");
        let mut space = Space::default();
        let free = || FreeSpace::UNLIMITED;
        assert!(space.prepare(&*file, 0, 100, 1 << 30, free).is_ok());
        let asked = space.prepare(&*file, 100, 100, 1 << 30, || panic!("it asked"));
        assert!(asked.is_ok(), "{asked:?}");
    }
}
