//! [`Fields`] and [`Encoder`]: the fields of a file or object with a magic, a checksum and a version.
//!
//! ```text
//! magic: 4 bytes | crc: u32 of bytes 8.. | version: u32 | fields
//! ```
//!
//! Numbers are big-endian. Invariant: no field is read before the checksum was compared, and no
//! length is believed before it was compared with its limit and with the bytes that exist.

/// The fields that were not read yet. Every method that reads returns `None` if the bytes end first.
#[derive(Debug)]
pub struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Checks the magic and the checksum, and reads the version. All versions of a file have these
    /// three in the same places. `None` if the file is damaged or has another magic.
    #[must_use]
    pub fn open(bytes: &'a [u8], magic: [u8; 4]) -> Option<(u32, Fields<'a>)> {
        let mut fields = Fields(bytes);
        let found = fields.take::<4>()?;
        let crc = fields.u32()?;
        if found != magic || crc != crc32fast::hash(fields.0) {
            return None;
        }
        Some((fields.u32()?, fields))
    }

    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    /// A number of one byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A number of 4 bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// A number of 8 bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A number of 16 bytes.
    pub fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }

    /// A text with a length of one byte. `None` also if it is not UTF-8.
    pub fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    /// A number of items, each of at least `item_bytes`, and the items. `None` also if there are
    /// more than `most`.
    pub fn items<T>(
        &mut self,
        most: usize,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.u32()?).ok()?;
        if count > most || count.checked_mul(item_bytes)? > self.0.len() {
            return None;
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }

    /// Whether every byte was read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes the fields of a file or object.
#[derive(Debug)]
pub struct Encoder {
    magic: [u8; 4],
    body: Vec<u8>,
}

impl Encoder {
    /// Begins with the magic and the version.
    #[must_use]
    pub fn new(magic: [u8; 4], version: u32) -> Encoder {
        Encoder { magic, body: version.to_be_bytes().to_vec() }
    }

    /// Adds bytes.
    pub fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.body.extend_from_slice(bytes.as_ref());
    }

    /// Adds a number of 4 bytes.
    pub fn u32(&mut self, number: u32) {
        self.put(number.to_be_bytes());
    }

    /// Adds a number of 8 bytes.
    pub fn u64(&mut self, number: u64) {
        self.put(number.to_be_bytes());
    }

    /// Adds a number of 16 bytes.
    pub fn u128(&mut self, number: u128) {
        self.put(number.to_be_bytes());
    }

    /// Adds the first 255 bytes of a text, cut between characters.
    pub fn text(&mut self, text: &str) {
        let text = text.get(..text.floor_char_boundary(255)).unwrap_or_default();
        self.put([u8::try_from(text.len()).unwrap_or(0)]);
        self.put(text);
    }

    /// Adds a number of items, which is below 2^32.
    pub fn count(&mut self, items: usize) {
        self.u32(u32::try_from(items).unwrap_or(u32::MAX));
    }

    /// The bytes, with the checksum.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.body);
        [&self.magic[..], &crc.to_be_bytes(), &self.body].concat()
    }
}
