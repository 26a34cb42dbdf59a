//! [`Manifest`]: encodes and decodes `log.toml`, which has the id and configuration of a log.
//!
//! ```text
//! checksum = "…"        CRC-32 of everything after this line, in hex
//! version = 1
//! id = "…"              32 hex digits
//! generation = 0        the folder with the segments
//! [config] …
//! ```
//!
//! The replacement of this file is the commit point of create, truncate and restore. Invariant: the
//! file is always replaced as a whole, and its checksum detects every other change.

use serde::{Deserialize, Serialize};
use styx_protocol::{LogConfig, LogId};

const VERSION: u32 = 1;

/// The maximum size of the file in bytes, larger than any manifest.
pub(crate) const BYTES_MAX: u64 = 64 << 10;

/// How every file begins.
pub(crate) const START: &[u8] = b"checksum = \"";

/// A log's identity and configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) id: LogId,
    pub(crate) generation: u64,
    pub(crate) config: LogConfig,
}

#[derive(Serialize, Deserialize)]
struct Text {
    version: u32,
    id: String,
    generation: u64,
    config: LogConfig,
}

impl Manifest {
    /// Returns the content of the file.
    pub(crate) fn encode(&self) -> String {
        let text = Text {
            version: VERSION,
            id: self.id.to_string(),
            generation: self.generation,
            config: self.config,
        };
        let body = toml::to_string(&text).expect("numbers and strings can be encoded as TOML");
        format!("checksum = \"{:08x}\"\n{body}", crc32fast::hash(body.as_bytes()))
    }

    /// Decodes the content of the file.
    ///
    /// # Errors
    /// A message that says what is wrong with the file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| "log.toml is not UTF-8 text".to_owned())?;
        let damaged = || "log.toml fails its checksum".to_owned();
        let (first, body) = text.split_once('\n').ok_or_else(damaged)?;
        let stored = first.strip_prefix("checksum = \"").and_then(|s| s.strip_suffix('"'));
        let stored = stored.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if stored != Some(crc32fast::hash(body.as_bytes())) {
            return Err(damaged());
        }
        let text: Text = toml::from_str(body).map_err(|e| format!("log.toml: {e}"))?;
        if text.version != VERSION {
            return Err(format!(
                "log.toml has version {}, but this server supports only version {VERSION}: use a newer Styx",
                text.version
            ));
        }
        let id = text.id.parse().map_err(|e| format!("log.toml: {e}"))?;
        text.config.validate().map_err(|e| format!("log.toml: {e}"))?;
        Ok(Manifest { id, generation: text.generation, config: text.config })
    }
}
