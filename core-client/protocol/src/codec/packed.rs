//! Compresses and decompresses bodies: lz4 as one raw block, zstd as one frame.
//!
//! Compressed bytes are not trusted. They are decompressed into a buffer of exactly
//! `raw_size` bytes, which the caller has checked against its limits. So the window or
//! content size that a zstd frame claims never causes an allocation. Each thread that
//! uses zstd keeps its contexts (about 0.1 MB to decompress, at least 1 MB to compress)
//! and one buffer.

use std::cell::RefCell;

use bytes::Bytes;
use lz4_flex::block as lz4;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use zstd::zstd_safe::{self, CCtx, DCtx};

use super::Codec;
use crate::limits::BLOCK_RAW_BYTES_MAX;

/// Why compressed bytes do not decompress to the expected number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnpackError {
    /// They are not a valid block or frame of their codec.
    Malformed,
    /// They decompress to this number of bytes. If that is too many, to at least this
    /// number.
    Length(u64),
}

#[derive(Default)]
struct Kept {
    compressor: Option<CCtx<'static>>,
    decompressor: Option<DCtx<'static>>,
    bytes: Vec<u8>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// The compressed form of `raw` after a prefix of zeros, without spare capacity; `None` if it
/// is not smaller than `raw`. `level` only applies to zstd; its default is 3.
#[must_use]
pub fn pack_behind(
    prefix_bytes: usize,
    codec: Codec,
    level: Option<i32>,
    raw: &[u8],
) -> Option<Vec<u8>> {
    KEPT.with_borrow_mut(|kept| {
        let packed_bytes = match codec {
            Codec::None => None,
            Codec::Lz4 => {
                kept.bytes.resize(lz4::get_maximum_output_size(raw.len()), 0);
                lz4::compress_into(raw, &mut kept.bytes).ok()
            }
            Codec::Zstd => {
                let context = kept.compressor.get_or_insert_with(CCtx::create);
                let level = level.unwrap_or(zstd_safe::CLEVEL_DEFAULT);
                // A frame that does not fit here is not smaller.
                kept.bytes.resize(raw.len(), 0);
                context.compress(&mut kept.bytes[..], raw, level).ok()
            }
        };
        let packed = packed_bytes.filter(|bytes| *bytes < raw.len());
        let packed = packed.and_then(|bytes| kept.bytes.get(..bytes)).map(|packed| {
            let mut bytes = Vec::with_capacity(prefix_bytes + packed.len());
            bytes.resize(prefix_bytes, 0);
            bytes.extend_from_slice(packed);
            bytes
        });
        kept.shrink();
        packed
    })
}

/// Decompresses `packed` to exactly `raw_bytes` bytes. Never allocates more.
pub(crate) fn unpack(codec: Codec, packed: &Bytes, raw_bytes: usize) -> Result<Bytes, UnpackError> {
    if codec == Codec::None {
        return check_length(packed.len(), raw_bytes).map(|()| packed.clone());
    }
    let mut raw = Vec::new();
    KEPT.with_borrow_mut(|kept| unpack_into(kept, codec, packed, raw_bytes, &mut raw))?;
    Ok(raw.into())
}

/// As [`unpack`], but only lends the bytes to a function.
pub(crate) fn with_unpacked<T>(
    codec: Codec,
    packed: &Bytes,
    raw_bytes: usize,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, UnpackError> {
    if codec == Codec::None {
        return check_length(packed.len(), raw_bytes).map(|()| look(packed));
    }
    KEPT.with_borrow_mut(|kept| {
        let mut raw = std::mem::take(&mut kept.bytes);
        let looked = unpack_into(kept, codec, packed, raw_bytes, &mut raw).map(|()| look(&raw));
        kept.bytes = raw;
        kept.shrink();
        looked
    })
}

fn unpack_into(
    kept: &mut Kept,
    codec: Codec,
    packed: &[u8],
    raw_bytes: usize,
    raw: &mut Vec<u8>,
) -> Result<(), UnpackError> {
    let found = match codec {
        Codec::None => packed.len(),
        Codec::Lz4 => {
            prepare(raw, raw_bytes);
            lz4::decompress_into(packed, raw).map_err(|fault| match fault {
                lz4::DecompressError::OutputTooSmall { expected, .. } => {
                    UnpackError::Length(expected as u64)
                }
                _ => UnpackError::Malformed,
            })?
        }
        Codec::Zstd => {
            // One frame, and no bytes after it.
            if zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len()) {
                return Err(UnpackError::Malformed);
            }
            prepare(raw, raw_bytes);
            let context = kept.decompressor.get_or_insert_with(DCtx::create);
            context.decompress(&mut raw[..], packed).map_err(
                |code| match zstd_safe::is_error_kind(code, ZSTD_error_dstSize_tooSmall) {
                    true => UnpackError::Length(raw_bytes as u64 + 1),
                    false => UnpackError::Malformed,
                },
            )?
        }
    };
    check_length(found, raw_bytes)
}

/// Sets the length of `raw`. The caller overwrites its bytes.
fn prepare(raw: &mut Vec<u8>, bytes: usize) {
    if raw.capacity() < bytes {
        *raw = vec![0; bytes];
    } else {
        raw.resize(bytes, 0);
    }
}

fn check_length(found: usize, raw_bytes: usize) -> Result<(), UnpackError> {
    if found == raw_bytes { Ok(()) } else { Err(UnpackError::Length(found as u64)) }
}

impl Kept {
    /// Frees the memory that a large record needed.
    fn shrink(&mut self) {
        if self.bytes.capacity() > 2 * BLOCK_RAW_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 2] = [Codec::Lz4, Codec::Zstd];

    fn pack(codec: Codec, level: Option<i32>, raw: &[u8]) -> Option<Vec<u8>> {
        pack_behind(0, codec, level, raw)
    }

    #[test]
    fn decompression_restores_the_compressed_bytes() {
        let raw: Vec<u8> = (0..100_000u32).map(|i| (i / 7 % 251) as u8).collect();
        for codec in CODECS {
            let packed = pack(codec, None, &raw).expect("it repeats itself");
            assert!(packed.len() < raw.len() / 2, "{codec}");
            let packed = Bytes::from(packed);
            assert_eq!(unpack(codec, &packed, raw.len()).as_deref(), Ok(&raw[..]), "{codec}");
            assert_eq!(with_unpacked(codec, &packed, raw.len(), <[u8]>::to_vec), Ok(raw.clone()));
        }
    }

    #[test]
    fn length_that_differs_from_the_header_is_an_error() {
        let raw = vec![7u8; 5000];
        for codec in CODECS {
            let packed = Bytes::from(pack(codec, Some(1), &raw).expect("it repeats itself"));
            assert_eq!(unpack(codec, &packed, 5001), Err(UnpackError::Length(5000)), "{codec}");
            for too_few in [0, 1, 4999] {
                let Err(UnpackError::Length(found)) = unpack(codec, &packed, too_few) else {
                    panic!("{codec}: 5000 bytes came out of a buffer of {too_few}");
                };
                assert!(found > too_few as u64, "{codec}");
            }
        }
        assert_eq!(unpack(Codec::None, &raw.into(), 4999), Err(UnpackError::Length(5000)));
    }

    #[test]
    fn incompressible_bytes_are_not_compressed() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1000)
        .collect();
        for codec in CODECS {
            assert_eq!(pack(codec, None, &noise), None, "{codec}");
            assert_eq!(pack(codec, None, b""), None, "{codec}");
        }
    }

    #[test]
    fn garbage_is_malformed() {
        let garbage = Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff");
        for codec in CODECS {
            assert_eq!(unpack(codec, &garbage, 100), Err(UnpackError::Malformed), "{codec}");
            assert_eq!(unpack(codec, &Bytes::new(), 0), Err(UnpackError::Malformed), "{codec}");
        }
    }

    #[test]
    fn bytes_after_a_zstd_frame_are_malformed() {
        let raw = vec![7u8; 500];
        let mut packed = pack(Codec::Zstd, None, &raw).expect("it repeats itself");
        let whole = packed.len();
        packed.extend_from_within(..);
        assert_eq!(unpack(Codec::Zstd, &packed.clone().into(), 1000), Err(UnpackError::Malformed));
        packed.truncate(whole - 1);
        assert_eq!(unpack(Codec::Zstd, &packed.into(), 500), Err(UnpackError::Malformed));
    }
}
