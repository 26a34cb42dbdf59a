//! [`NewerFormat`]: a file that only a newer version of Styx can read.
//!
//! Every file of a log has a version, which stays in its place in all later formats (docs/format.md,
//! "Frozen formats"). So this version recognises a newer file. Invariant: such a file is neither
//! taken for damaged nor ignored, and nothing is changed because of it. The index is an exception:
//! it is a cache, and is rebuilt.

use std::io;
use std::path::{Path, PathBuf};

use styx_protocol::block;

use crate::Error;
use crate::storage::{Storage, read_file};

/// The file with the format of a data directory. No version has written it yet: without it, the
/// format is 1. A later version that keeps something new in the data directory writes a higher
/// number, so that this version refuses the directory.
pub(crate) const DATA_DIRECTORY_FORMAT: &str = ".format";

/// The newest format of a data directory that this version knows.
const DATA_DIRECTORY_VERSION: &str = "1";

/// A file in a format that this version does not know. It was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerFormat {
    /// The file.
    pub file: PathBuf,
    /// The new property, such as "in format 2".
    pub format: String,
}

impl std::fmt::Display for NewerFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} was written {} by a newer version of Styx: run that version or a newer one",
            self.file.display(),
            self.format
        )
    }
}

impl std::error::Error for NewerFormat {}

/// A property that only newer versions write; [`Newer::in_file`] adds the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newer(String);

impl Newer {
    /// The file has this version, which is higher than the highest known one.
    pub(crate) fn version(version: impl std::fmt::Display) -> Newer {
        Newer(format!("in format {version}"))
    }

    /// A text file has a key that this version does not know.
    pub(crate) fn key(name: &str) -> Newer {
        Newer(format!("with the unknown key {name}"))
    }

    /// Why this block cannot be decoded; `None` if it is not a block at all.
    pub(crate) fn block(error: block::Error) -> Option<Newer> {
        match error {
            block::Error::NotAHeader => None,
            block::Error::Version(version) => Some(Newer(format!("with block format {version}"))),
            block::Error::Codec(codec) => Some(Newer(format!("with block codec {codec}"))),
            block::Error::Flags(flags) => Some(Newer(format!("with block flags {flags:#06x}"))),
        }
    }

    /// The message for a place that names the file before it.
    pub(crate) fn message(&self) -> String {
        format!(
            "it was written {} by a newer version of Styx: run that version or a newer one",
            self.0
        )
    }

    pub(crate) fn in_file(self, file: impl Into<PathBuf>) -> NewerFormat {
        NewerFormat { file: file.into(), format: self.0 }
    }

    pub(crate) fn error(self, file: impl Into<PathBuf>) -> Error {
        Error::NewerFormat(self.in_file(file))
    }
}

/// Why the content of a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    Newer(Newer),
    /// It is invalid in every version, for this reason.
    Damaged(String),
}

/// Refuses a data directory with the format of a newer version.
pub(crate) fn check_data_directory(storage: &dyn Storage, directory: &Path) -> Result<(), Error> {
    let path = directory.join(DATA_DIRECTORY_FORMAT);
    let content = match read_file(storage, &path, 64) {
        Ok(content) => String::from_utf8_lossy(&content).trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => "unknown".to_owned(),
        Err(error) => return Err(Error::io("cannot read", path)(error)),
    };
    if content == DATA_DIRECTORY_VERSION {
        return Ok(());
    }
    Err(Error::DataDirectory {
        message: format!(
            "the data directory {} was written in format {content} by a newer version of Styx: run that version or a newer one",
            directory.display()
        ),
    })
}
