//! Backup: writes a consistent copy of a log up to its durable end, while appends continue.
//!
//! ```text
//! tar.gz   log.toml | cursors | 0/watermark | 0/<base>.producers | 0/<base>.seg …
//! ```
//!
//! Sealed segments never change, and the newest segment is copied up to the durable end. So a
//! backup needs only the list of segments and their open files. Retention may remove the segments
//! in the meantime, because the open files keep their content. Invariant: the unpacked archive is
//! the directory of an intact log.

use std::io::{self, Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use styx_protocol::LogStatus;

use crate::Error;
use crate::log::LogInner;
use crate::manifest::Manifest;
use crate::producers;
use crate::segment::name;
use crate::storage::{File, read_file};
use crate::sync::lock;
use crate::tail::View;
use crate::watermark::{self, Mark};

/// The generation's folder in an archive.
pub(crate) const FOLDER: &str = "0";

/// Writes the archive to `out`.
///
/// # Errors
/// The log is corrupt, removed or closed, or I/O fails, which includes writes to `out`.
pub(crate) fn write(log: &LogInner, out: &mut dyn Write) -> Result<(), Error> {
    if lock(&log.health).0 == LogStatus::Corrupt {
        return Err(log.not_available());
    }
    let snapshot = take(log)?;
    snapshot.write(log, out).map_err(Error::io("cannot write the backup of", &log.directory))
}

/// The content of a backup.
struct Snapshot {
    view: View,
    /// The open files of the view's segments.
    files: Vec<Arc<dyn File>>,
    /// The name and content of the producer snapshot.
    producers: Option<(String, Vec<u8>)>,
    /// The content of the file with the cursors.
    cursors: Option<Vec<u8>>,
}

/// Takes the published state of the log and opens every segment.
fn take(log: &LogInner) -> Result<Snapshot, Error> {
    // Before the view, so that no cursor is after the end of the copy.
    let cursors = log.cursors.backup(log);
    loop {
        let view = log.tail.live_view()?;
        let files: io::Result<Vec<_>> =
            view.segments.iter().map(|segment| segment.file()).collect();
        match files {
            Ok(files) => {
                let producers = snapshot(log, &view);
                return Ok(Snapshot { view, files, producers, cursors });
            }
            // Retention removed a segment after the view was taken: take a new view.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && log.tail.view().start() != view.start() => {}
            Err(error) => {
                return Err(Error::io("cannot open a segment of", &log.directory)(error));
            }
        }
    }
}

/// The producer snapshot at the start of the view's newest segment. The two newest snapshots are
/// kept on disk, so it still exists after one roll during the backup.
fn snapshot(log: &LogInner, view: &View) -> Option<(String, Vec<u8>)> {
    let name = name::producers(view.segments.last()?.base);
    let path = log.segment_directory.path.join(&name);
    let bytes = read_file(&*log.segment_directory.storage, &path, producers::BYTES_MAX).ok()?;
    Some((name, bytes))
}

impl Snapshot {
    fn write(&self, log: &LogInner, out: &mut dyn Write) -> io::Result<()> {
        let now_s = log.services.stamps.now_us() / 1_000_000;
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
        let mut add = |name: &str, len: u64, content: &mut dyn Read| {
            let mut header = tar::Header::new_gnu();
            header.set_size(len);
            header.set_mode(0o644);
            header.set_mtime(now_s);
            archive.append_data(&mut header, name, content)
        };
        let manifest = Manifest::new(log.id, 0, log.config).encode();
        add(name::MANIFEST, manifest.len() as u64, &mut manifest.as_bytes())?;
        if let Some(bytes) = &self.cursors {
            add(name::CURSORS, bytes.len() as u64, &mut bytes.as_slice())?;
        }
        let mark = Mark {
            open_epoch: lock(&log.watermark).as_ref().map_or(0, |w| w.mark().open_epoch),
            start: self.view.start(),
            durable: self.view.durable.position,
        };
        let watermark = watermark::file_bytes(mark);
        let path = format!("{FOLDER}/{}", name::WATERMARK);
        add(&path, watermark.len() as u64, &mut watermark.as_slice())?;
        if let Some((name, bytes)) = &self.producers {
            add(&format!("{FOLDER}/{name}"), bytes.len() as u64, &mut bytes.as_slice())?;
        }
        for (segment, file) in self.view.segments.iter().zip(&self.files) {
            let len = self.view.readable_bytes(segment);
            let path = format!("{FOLDER}/{}", name::segment(segment.base));
            add(&path, len, &mut FileSection { file: &**file, at: 0, end: len })?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

/// Reads a range of a file as a stream.
pub(crate) struct FileSection<'a> {
    pub(crate) file: &'a dyn File,
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Read for FileSection<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let want = left.min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buf[..want], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
