//! `styx restore --download`: the segment files of restored logs, so that reads need no store.
//!
//! ```text
//! object ─▶ archive.download in the data directory, CRC, sync ─▶ rename to the log's folder ─▶ sync
//! ```
//!
//! Invariant: a file has a segment's name only if it has the bytes that the entry describes. A crash
//! leaves at most the file `archive.download`. The log is intact after every step, because a segment
//! may be in the store, on the disk, or both.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use styx_engine::archive::Entry;

use crate::keys;
use crate::offline::{self, Progress, Tell};
use crate::restore::Restored;
use crate::store::{Error, Kind, PART_BYTES, Store};

/// The name of a file that is being written. A name with a dot is not a log.
const TEMPORARY: &str = "archive.download";

/// The folder of the segments of a log that was just restored.
const FOLDER: &str = "0";

/// Removes what an interrupted download has left. The directory must be in use by the caller.
///
/// # Errors
/// The file cannot be removed.
pub(crate) fn remove_leftovers(data_directory: &Path) -> Result<(), Error> {
    let path = data_directory.join(TEMPORARY);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(local(&path, &e)),
        _ => Ok(()),
    }
}

/// Downloads the segments of logs that [`restore`](crate::restore::restore) has returned for this data
/// directory, except those that are there already. Returns their bytes. Blocks. No server may have used the directory yet.
///
/// # Errors
/// The store failed, an object is missing or damaged, or a file cannot be written. Files that
/// were downloaded stay, reads of the others fetch them from the store, and another call continues.
pub fn download(
    store: &Store,
    data_directory: &Path,
    logs: &[Restored],
    tell: Tell<'_>,
) -> Result<u64, Error> {
    offline::run(async {
        let total = logs.iter().map(|log| log.bytes).sum();
        let mut done = 0;
        for log in logs {
            let folder = data_directory.join(log.log.as_str()).join(FOLDER);
            for entry in &log.entries {
                let path = folder.join(format!("{:020}.seg", entry.base.0));
                if path.try_exists().map_err(|e| local(&path, &e))? {
                    done += entry.bytes;
                    continue;
                }
                let temporary = data_directory.join(TEMPORARY);
                fetch(store, entry, &temporary, &mut |bytes| {
                    done += bytes;
                    tell(Progress { what: "downloading segments", done, total });
                })
                .await?;
                fs::rename(&temporary, &path)
                    .and_then(|()| File::open(&folder)?.sync_all())
                    .map_err(|e| local(&path, &e))?;
            }
        }
        Ok(done)
    })
}

/// Writes the object of an entry to a file, and syncs it.
async fn fetch(
    store: &Store,
    entry: &Entry,
    path: &Path,
    arrived: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let key = keys::segment(entry);
    let mut file = File::create(path).map_err(|e| local(path, &e))?;
    let (mut at, mut crc) = (0, 0);
    while at < entry.bytes {
        let range = at..entry.bytes.min(at + PART_BYTES);
        let part = store.get_range(&key, range.clone()).await?;
        crc = crc32c::crc32c_append(crc, &part);
        file.write_all(&part).map_err(|e| local(path, &e))?;
        arrived(range.end - range.start);
        at = range.end;
    }
    if crc != entry.file_crc {
        let why = "its bytes are not those that were archived: run styx archive verify --read";
        return Err(Error::new(Kind::Damaged, format!("get {key}"), why));
    }
    file.sync_all().map_err(|e| local(path, &e))
}

fn local(path: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Invalid, path.display().to_string(), error.to_string())
}
