//! [`Fields`]: reads a small file with a magic, a checksum and a version, field by field.
//!
//! ```text
//! magic: 4 bytes | crc: u32 of bytes 8.. | version: u32 | fields
//! ```
//! Invariant: nothing is read from a file before its checksum was compared.

/// The rest of the file.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Checks the magic and the checksum, and reads the version. All versions of a file have these
    /// three in the same places. `None` if the file is damaged or has another magic.
    pub(crate) fn open(bytes: &'a [u8], magic: [u8; 4]) -> Option<(u32, Fields<'a>)> {
        let mut fields = Fields(bytes);
        let found = fields.take::<4>()?;
        let crc = fields.u32()?;
        if found != magic || crc != crc32fast::hash(fields.0) {
            return None;
        }
        Some((fields.u32()?, fields))
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}
