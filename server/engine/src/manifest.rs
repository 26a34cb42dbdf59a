//! [`Manifest`]: encodes and decodes `log.toml`, which has the id and configuration of a log.
//!
//! ```text
//! checksum = "…"        CRC-32 of everything after this line, in hex
//! version = 1           2 once the log has a list of archived segments
//! id = "…"              32 hex digits
//! generation = 0        the folder with the segments
//! lineage = ["…"]       the logs from which it was restored, oldest first: their id, a colon, and the
//!                       position of the fork; absent without any
//! has_archive_manifest = true   the archive has a manifest of the log although it may have no
//!                       segment of its own there; absent if this is not known
//! [config] …
//! ```
//!
//! The replacement of this file is the commit point of create, truncate and restore. The version is
//! the format of the whole log, whose other files may be newer too. Invariant: the file is always
//! replaced as a whole, and its checksum detects every other change.

use serde::{Deserialize, Serialize};
use styx_protocol::{LogConfig, LogId};
use toml::{Table, Value};

use crate::archive::Lineage;
use crate::format::{Newer, Unusable};

/// The version of a log without archived segments.
pub(crate) const VERSION: u32 = 1;
/// The version of a log that has, or had, a list of archived segments. An older version of Styx
/// refuses it, instead of missing the files of evicted segments.
pub(crate) const ARCHIVED_VERSION: u32 = 2;

/// The keys beside those of the configuration.
const KEYS: [&str; 6] =
    ["version", "id", "generation", "lineage", "has_archive_manifest", "config"];

/// The maximum size of the file in bytes, larger than any manifest.
pub(crate) const BYTES_MAX: u64 = 64 << 10;

/// How every file begins.
pub(crate) const START: &[u8] = b"checksum = \"";

/// A log's identity and configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) id: LogId,
    pub(crate) generation: u64,
    pub(crate) lineage: Lineage,
    /// The archive is known to have a manifest of this log, so none has to be written before the
    /// first segment of its own.
    pub(crate) has_archive_manifest: bool,
    pub(crate) config: LogConfig,
}

#[derive(Serialize, Deserialize)]
struct Text {
    version: u32,
    id: String,
    generation: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lineage: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_archive_manifest: bool,
    config: LogConfig,
}

impl Manifest {
    /// The manifest of a log without archived segments.
    pub(crate) fn new(id: LogId, generation: u64, config: LogConfig) -> Manifest {
        let (lineage, has_archive_manifest) = (Lineage::default(), false);
        Manifest { version: VERSION, id, generation, lineage, has_archive_manifest, config }
    }

    /// Returns the content of the file.
    pub(crate) fn encode(&self) -> String {
        let text = Text {
            version: self.version,
            id: self.id.to_string(),
            generation: self.generation,
            lineage: self.lineage.encode(),
            has_archive_manifest: self.has_archive_manifest,
            config: self.config,
        };
        let body = toml::to_string(&text).expect("numbers and strings can be encoded as TOML");
        format!("checksum = \"{:08x}\"\n{body}", crc32fast::hash(body.as_bytes()))
    }

    /// Decodes the content of the file.
    ///
    /// # Errors
    /// The file is damaged, or a newer version wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, Unusable> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Unusable::Damaged("log.toml is not UTF-8 text".to_owned()))?;
        let damaged = || Unusable::Damaged("log.toml fails its checksum".to_owned());
        let (first, body) = text.split_once('\n').ok_or_else(damaged)?;
        let stored = first.strip_prefix("checksum = \"").and_then(|s| s.strip_suffix('"'));
        let stored = stored.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if stored != Some(crc32fast::hash(body.as_bytes())) {
            return Err(damaged());
        }
        let invalid =
            |error: &dyn std::fmt::Display| Unusable::Damaged(format!("log.toml: {error}"));
        let table: Table = body.parse().map_err(|e: toml::de::Error| invalid(&e))?;
        if let Some(newer) = newer(&table) {
            return Err(Unusable::Newer(newer));
        }
        let text: Text = table.try_into().map_err(|e: toml::de::Error| invalid(&e))?;
        if !(VERSION..=ARCHIVED_VERSION).contains(&text.version) {
            return Err(invalid(&format!("version {} does not exist", text.version)));
        }
        let id = text.id.parse().map_err(|e| invalid(&e))?;
        text.config.validate().map_err(|e| invalid(&e))?;
        let lineage = Lineage::decode(&text.lineage)
            .ok_or_else(|| invalid(&"its lineage is not a list of ids and positions"))?;
        let Text { version, generation, has_archive_manifest, config, .. } = text;
        Ok(Manifest { version, id, generation, lineage, has_archive_manifest, config })
    }
}

/// The version or key that only a newer version can have written. A key that is ignored now would be lost when this
/// version replaces the file, so an unknown key is newer even if the version is not.
fn newer(table: &Table) -> Option<Newer> {
    if let Some(Value::Integer(version)) = table.get("version")
        && *version > i64::from(ARCHIVED_VERSION)
    {
        return Some(Newer::version(version));
    }
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Some(Newer::key(key));
    }
    let config = table.get("config").and_then(Value::as_table)?;
    let key = config.keys().find(|key| !LogConfig::FIELDS.contains(&key.as_str()))?;
    Some(Newer::key(&format!("config.{key}")))
}

#[cfg(test)]
mod tests {
    use styx_protocol::Position;

    use super::*;

    /// Decodes a manifest with this body and the right checksum.
    fn decode(body: &str) -> Result<Manifest, Unusable> {
        let crc = crc32fast::hash(body.as_bytes());
        Manifest::decode(format!("checksum = \"{crc:08x}\"\n{body}").as_bytes())
    }

    fn newer(body: &str) -> String {
        match decode(body) {
            Err(Unusable::Newer(newer)) => newer.in_file("log.toml").to_string(),
            other => panic!("{other:?}"),
        }
    }

    const V1: &str = "version = 1\nid = \"000000000000000000000000000000ff\"\ngeneration = 3\n";

    #[test]
    fn a_manifest_with_default_configuration_is_decoded() {
        let read = decode(&format!("{V1}[config]\n")).expect("is valid");
        let expected = Manifest::new(LogId(0xff), 3, LogConfig::default());
        assert_eq!(read, expected);
        assert_eq!(Manifest::decode(expected.encode().as_bytes()), Ok(expected.clone()));
        let archived = Manifest {
            version: 2,
            lineage: Lineage::default().restored(LogId(0xfe), Position(80)),
            has_archive_manifest: true,
            ..expected
        };
        let ancestor = "lineage = [\"000000000000000000000000000000fe:80\"]\n";
        assert!(archived.encode().contains(ancestor), "{}", archived.encode());
        assert_eq!(Manifest::decode(archived.encode().as_bytes()), Ok(archived.clone()));
    }

    /// Bug: a manifest of a newer version without `generation` was an error about that key. A key
    /// that only a newer version knows was ignored, and lost at the next truncate.
    #[test]
    fn a_manifest_of_a_newer_version_is_refused_by_its_format() {
        let message = newer("version = 3\nshards = [1, 2]\n");
        let refused = "log.toml was written in format 3 by a newer version of Styx: run that \
                       version or a newer one";
        assert_eq!(message, refused);
        let message = newer(&format!("{V1}compact = true\n[config]\n"));
        assert!(message.contains("with the unknown key compact"), "{message}");
        let message = newer(&format!("{V1}[config]\nmax_readers = 3\n"));
        assert!(message.contains("with the unknown key config.max_readers"), "{message}");
    }

    #[test]
    fn other_invalid_manifests_are_damaged() {
        let old = V1.replace("version = 1", "version = 0");
        let lineage = format!("{V1}lineage = [\"ff\"]\n[config]\n");
        let old = format!("{old}[config]\n");
        for body in ["", "version = 1\n", "version = \"2\"\n", "= 2\n", &old, &lineage] {
            assert!(matches!(decode(body), Err(Unusable::Damaged(_))), "{body:?}");
        }
        let newer_but_damaged = Manifest::decode(b"checksum = \"00000000\"\nversion = 3\n");
        assert!(matches!(newer_but_damaged, Err(Unusable::Damaged(_))));
    }
}
