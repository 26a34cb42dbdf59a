//! [`Codec`]: how a block's body is stored. [`Codecs`]: the set of codecs that a side
//! supports.
//!
//! A codec is a byte in a block's header, and a word in `X-Styx-Features`. `packed`
//! compresses and decompresses bodies. The header's `raw_size` bounds its output, whatever
//! size the compressed bytes claim.

mod packed;

pub use packed::pack_behind;
pub(crate) use packed::{UnpackError, unpack, with_unpacked};

use std::fmt;
use std::str::FromStr;

/// How a block's body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// One raw LZ4 block that decompresses to `raw_size` bytes.
    Lz4,
    /// One zstd frame that decompresses to `raw_size` bytes.
    Zstd,
}

/// The text is not the name of a codec. Has the text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a codec: use none, lz4 or zstd")]
pub struct UnknownCodec(pub String);

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

    /// The codec's name: `none`, `lz4` or `zstd`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec with this number in a block's header.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::None),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The codec's number in a block's header.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    /// Accepts names in any letter case.
    fn from_str(text: &str) -> Result<Codec, UnknownCodec> {
        let known = Codec::ALL.into_iter().find(|codec| text.eq_ignore_ascii_case(codec.as_str()));
        known.ok_or_else(|| UnknownCodec(text.chars().take(40).collect()))
    }
}

/// A set of codecs, as in `X-Styx-Features`. [`Codec::None`] is in every set, because
/// every side supports plain blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Codecs(u8);

impl Codecs {
    /// Only plain blocks.
    pub const PLAIN: Codecs = Codecs(0);
    /// Every codec of this crate.
    pub const ALL: Codecs = Codecs::PLAIN.with(Codec::Lz4).with(Codec::Zstd);

    /// The codecs in a header's value: words separated by commas, in any letter case. Other
    /// words are ignored, because they are other or unknown features.
    #[must_use]
    pub fn from_features(value: &str) -> Codecs {
        let named = value.split(',').filter_map(|word| word.trim().parse().ok());
        named.fold(Codecs::PLAIN, Codecs::with)
    }

    /// The set and this codec.
    #[must_use]
    pub const fn with(self, codec: Codec) -> Codecs {
        Codecs(self.0 | bit(codec))
    }

    /// The codecs in both sets.
    #[must_use]
    pub const fn common(self, other: Codecs) -> Codecs {
        Codecs(self.0 & other.0)
    }

    /// Whether a block with this codec may be sent to a side that supports this set.
    #[must_use]
    pub const fn contains(self, codec: Codec) -> bool {
        self.0 & bit(codec) == bit(codec)
    }

    /// Whether [`Codec::None`] is the only codec, so that the header is left out.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.0 == 0
    }
}

const fn bit(codec: Codec) -> u8 {
    match codec {
        Codec::None => 0,
        Codec::Lz4 => 1,
        Codec::Zstd => 2,
    }
}

impl From<Codec> for Codecs {
    fn from(codec: Codec) -> Codecs {
        Codecs::PLAIN.with(codec)
    }
}

/// The header's value, such as `lz4, zstd`. Empty for [`Codecs::PLAIN`], for which the
/// header is left out.
impl fmt::Display for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [Codec::Lz4, Codec::Zstd].into_iter().filter(|codec| self.contains(*codec));
        for (index, codec) in named.enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(codec.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_parsed_leniently_and_written_canonically() {
        let check = |value: &str, shown: &str| {
            let codecs = Codecs::from_features(value);
            assert_eq!(codecs.to_string(), shown, "{value:?}");
            assert_eq!(Codecs::from_features(shown), codecs);
        };
        check("", "");
        check("none", "");
        check("lz4", "lz4");
        check(" ZSTD ,, lz4,brotli, lz4", "lz4, zstd");
        check("lz4 zstd", "");
    }

    #[test]
    fn every_set_contains_plain_blocks_and_its_own_codecs() {
        assert!(Codecs::PLAIN.contains(Codec::None) && Codecs::PLAIN.is_plain());
        assert!(!Codecs::PLAIN.contains(Codec::Zstd));
        let lz4 = Codecs::from(Codec::Lz4);
        assert!(lz4.contains(Codec::Lz4) && !lz4.contains(Codec::Zstd));
        assert_eq!(Codecs::ALL.common(lz4), lz4);
        assert!(Codec::ALL.into_iter().all(|codec| Codecs::ALL.contains(codec)));
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for codec in Codec::ALL {
            assert_eq!(codec.as_str().parse(), Ok(codec));
            assert_eq!(Codec::from_byte(codec.byte()), Some(codec));
        }
        assert_eq!("snappy".parse::<Codec>(), Err(UnknownCodec("snappy".to_owned())));
        assert_eq!(Codec::from_byte(3), None);
    }
}
