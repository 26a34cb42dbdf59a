//! Decodes the configuration file of a 0.x log.
//!
//! ```text
//! config (68 bytes)   max_record_size | index_after_size | segment_max_count
//!                     | segment_max_size | segment_max_age | log_max_count
//!                     | log_max_size | log_max_age, each int64, big-endian
//!                     | CRC-32C of the 64 bytes before it: u32
//! ```
//!
//! Invariant: the result is within the ranges that this version allows. A value above its range is
//! clamped, and a note reports it. So is -1 (no limit) if this version requires a limit. Any other
//! value below its range is refused.

use styx_protocol::LogConfig;
use styx_protocol::limits::{CONFIG_VALUE_MAX, MAX_RECORD_SIZE_MAX};

pub(super) const BYTES: usize = 68;
const FIELD_BYTES: usize = 64;

/// Decodes the content of the file. Also returns a note for each value that was clamped.
///
/// # Errors
/// A message that says what is wrong with the file.
pub(super) fn decode(bytes: &[u8; BYTES]) -> Result<(LogConfig, Vec<String>), String> {
    let (fields, stored) = bytes.split_at(FIELD_BYTES);
    if crc32c::crc32c(fields).to_be_bytes() != *stored {
        return Err("the configuration fails its checksum".into());
    }
    let mut config = LogConfig::default();
    let mut notes = Vec::new();
    for (index, (name, value)) in LogConfig::FIELDS.iter().zip(fields.chunks_exact(8)).enumerate() {
        let value = i64::from_be_bytes(std::array::from_fn(|i| value[i]));
        let largest = match index {
            0 => i64::try_from(MAX_RECORD_SIZE_MAX).unwrap_or(i64::MAX),
            _ => CONFIG_VALUE_MAX,
        };
        // 0.x allows -1 (no limit) for all fields, but this version does not for the first two.
        let kept = if value > largest || (value == -1 && index < 2) { largest } else { value };
        if kept != value {
            notes.push(format!("{name} was {value} and is now {kept}, the largest allowed value"));
        }
        if let Some(field) = config.field_mut(name) {
            *field = kept;
        }
    }
    config.validate().map_err(|error| error.to_string())?;
    Ok((config, notes))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixtures::config;
    use super::*;

    #[test]
    fn a_0x_configuration_is_decoded() {
        let mut recorded = [255; BYTES];
        for (at, value) in [(0, 4096_i64), (8, 1 << 20), (16, 100), (24, 1 << 30), (40, 1000)] {
            recorded[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        recorded[64..].copy_from_slice(&[0x6f, 0x88, 0xe7, 0x35]);
        let expected = LogConfig {
            max_record_size: 4096,
            segment_max_count: 100,
            log_max_count: 1000,
            ..LogConfig::default()
        };
        assert_eq!(decode(&recorded), Ok((expected, Vec::new())));
        for bit in 0..BYTES * 8 {
            let mut flipped = recorded;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn out_of_range_values_are_clamped_and_invalid_ones_are_refused() {
        let beyond = config([-1, -1, i64::MAX, -1, -1, -1, 7, -1]);
        let (read, notes) = decode(&beyond).expect("clamped");
        let largest = (1 << 30, CONFIG_VALUE_MAX, CONFIG_VALUE_MAX);
        let fields = (read.max_record_size, read.index_after_size, read.segment_max_count);
        assert_eq!(fields, largest);
        assert_eq!((read.log_max_size, notes.len()), (7, 3), "{notes:?}");
        for nonsense in [0, -2, i64::MIN] {
            let bytes = config([100, 100, 100, 100, 100, nonsense, -1, -1]);
            let message = decode(&bytes).expect_err("refused");
            assert!(message.contains("log_max_count"), "{message}");
        }
    }
}
