//! The CRC-32 of a record: over its size, then over its payload.
//!
//! ```text
//! payload < 24 bytes   eight bytes at a time with tables (slicing-by-8, Intel 2006)
//! longer               crc32fast, with carry-less multiplication
//! ```
//!
//! For payloads of ten bytes, the checksum is most of the cost of encoding and checking a
//! record. crc32fast selects an implementation on every call, and for such payloads that
//! costs more than the computation. docs/decisions/0010 has the measurements.

/// The polynomial of IEEE 802.3, bit-reversed, as in gzip and crc32fast.
const POLYNOMIAL: u32 = 0xEDB8_8320;
/// From this size on, the library is faster.
const LONG_BYTES: usize = 24;
const STEP_BYTES: usize = 8;

/// `TABLES[n][byte]`: the CRC of a byte followed by `n` zero bytes.
static TABLES: [[u32; 256]; STEP_BYTES] = tables();

const fn tables() -> [[u32; 256]; STEP_BYTES] {
    let mut tables = [[0; 256]; STEP_BYTES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut row = 1;
    while row < STEP_BYTES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[row - 1][byte];
            tables[row][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

/// The CRC-32 at the start of a record.
#[inline]
#[must_use]
pub fn checksum(size: [u8; 4], payload: &[u8]) -> u32 {
    let of_size = word(u32::MAX ^ u32::from_le_bytes(size));
    if payload.len() >= LONG_BYTES {
        let mut hasher = crc32fast::Hasher::new_with_initial(!of_size);
        hasher.update(payload);
        return hasher.finalize();
    }
    let mut crc = of_size;
    let mut rest = payload;
    while let Some((step, after)) = rest.split_first_chunk::<STEP_BYTES>() {
        let [a, b, c, d, e, f, g, h] = *step;
        crc ^= u32::from_le_bytes([a, b, c, d]);
        let [i, j, k, l] = crc.to_le_bytes();
        crc = TABLES[7][usize::from(i)]
            ^ TABLES[6][usize::from(j)]
            ^ TABLES[5][usize::from(k)]
            ^ TABLES[4][usize::from(l)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
        rest = after;
    }
    if let Some((step, after)) = rest.split_first_chunk::<4>() {
        crc = word(crc ^ u32::from_le_bytes(*step));
        rest = after;
    }
    for byte in rest {
        let [low, ..] = crc.to_le_bytes();
        crc = crc >> 8 ^ TABLES[0][usize::from(low ^ byte)];
    }
    !crc
}

/// Four bytes at a time, already combined with the CRC of the bytes before them.
#[inline]
fn word(bytes: u32) -> u32 {
    let [a, b, c, d] = bytes.to_le_bytes();
    TABLES[3][usize::from(a)]
        ^ TABLES[2][usize::from(b)]
        ^ TABLES[1][usize::from(c)]
        ^ TABLES[0][usize::from(d)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_crc_32_of_size_and_payload() {
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (i * 31 % 251) as u8).collect();
        let lengths = (0..600).chain([4095, 65_535, 65_536, 70_000]);
        for len in lengths {
            let payload = &bytes[..len];
            for size in [len as u32, 0, u32::MAX, 0x0102_0304] {
                let size = size.to_be_bytes();
                let whole = [&size[..], payload].concat();
                assert_eq!(checksum(size, payload), crc32fast::hash(&whole), "{len} {size:?}");
            }
        }
    }
}
