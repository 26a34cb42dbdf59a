//! Making a log of an archive, without trusting a byte of it.
//!
//! ```text
//! gzip ─▶ tar ─▶ names, types, sizes, order ─▶ blocks, as they stream by ─▶
//! temporary directory ─▶ verified as a log ─▶ new id, synced ─▶ renamed
//! ```
//!
//! Only what a backup writes is accepted, in the order in which it writes it.
//! Memory is bounded whatever the archive says, and the first bytes that are not
//! a block end it, so an archive of zeros unpacks to nothing.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogId, Position};

use crate::backup::FOLDER;
use crate::manifest::{self, Manifest};
use crate::segment::name::{self, FileName};
use crate::storage::{File, Storage, write_all_at};
use crate::{Error, producers, verify, watermark};

const COPY_BYTES: usize = 256 << 10;
/// Zeros behind the last entry: tar's own padding, generously.
const PADDING_BYTES_MAX: usize = 1 << 20;

/// Unpacks and verifies an archive into `directory`, which must not exist, and
/// makes it durable under a new id.
pub(crate) fn unpack(
    storage: &dyn Storage,
    directory: &Path,
    id: LogId,
    archive: &mut dyn Read,
) -> Result<(), Error> {
    let failed = |doing| Error::io(doing, directory);
    let folder = directory.join(FOLDER);
    storage.create_dir(directory).map_err(failed("cannot create"))?;
    storage.create_dir(&folder).map_err(failed("cannot create"))?;
    let mut unpacking = Unpacking { storage, directory, stage: Stage::Manifest, manifest: None };
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    // Raw: extensions are entries of a type that is refused, not allocations.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    for entry in entries {
        unpacking.entry(entry.map_err(unreadable)?)?;
    }
    padding(&mut archive.into_inner())?;
    let manifest = unpacking.manifest.ok_or_else(|| bad("it is empty"))?;
    if !matches!(unpacking.stage, Stage::Segments { .. }) {
        return Err(bad("it has no segments"));
    }
    let report = verify::verify_log(storage, directory, &mut |_| {});
    if let Some(problem) = report.problems.first() {
        let file = problem.file.file_name().unwrap_or_default().to_string_lossy();
        return Err(bad(format!("{file}, byte {}: {}", problem.offset, problem.message)));
    }
    if let Some(note) = report.notes.first() {
        return Err(bad(note.as_str()));
    }
    storage.sync_dir(&folder).map_err(failed("cannot sync"))?;
    let text = Manifest { id, ..manifest }.encode();
    let path = directory.join(name::MANIFEST);
    crate::storage::replace_file(storage, &path, text.as_bytes()).map_err(failed("cannot write"))
}

/// What may come next.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Manifest,
    Watermark,
    ProducersOrSegment,
    Segments { next: Position },
}

struct Unpacking<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    stage: Stage,
    manifest: Option<Manifest>,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), Error> {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(bad(format!("{path:?} is not a plain file")));
        }
        let size = entry.header().size().map_err(unreadable)?;
        if path == name::MANIFEST && matches!(self.stage, Stage::Manifest) {
            return self.manifest(&mut entry, size);
        }
        if path == "config" && matches!(self.stage, Stage::Manifest) {
            return Err(bad("it is an archive of Styx 0.x, which this version cannot restore yet"));
        }
        let within = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let kind = within.map_or(FileName::Stranger, name::parse);
        let mut whole = Whole::default();
        let (limit, check): (u64, &mut dyn Check) = match (self.stage, kind) {
            (Stage::Watermark, FileName::Watermark) => {
                self.stage = Stage::ProducersOrSegment;
                (watermark::FILE_BYTES, &mut Anything)
            }
            (Stage::ProducersOrSegment, FileName::Producers(_)) => {
                (producers::BYTES_MAX, &mut Anything)
            }
            (Stage::ProducersOrSegment, FileName::Segment(base)) => {
                whole.position = base;
                (u64::MAX, &mut whole)
            }
            (Stage::Segments { next }, FileName::Segment(base)) if base == next => {
                whole.position = base;
                (u64::MAX, &mut whole)
            }
            _ => return Err(bad(format!("{path:?} has no place there"))),
        };
        if size > limit {
            return Err(bad(format!("{path:?} is too large")));
        }
        let target = self.directory.join(&path);
        let file = self.storage.create(&target).map_err(Error::io("cannot create", &target))?;
        copy(&mut entry, &*file, size, check, &target)?;
        file.sync().map_err(Error::io("cannot sync", &target))?;
        if let FileName::Segment(_) = kind {
            self.stage = Stage::Segments { next: whole.position };
        }
        Ok(())
    }

    fn manifest(&mut self, entry: &mut dyn Read, size: u64) -> Result<(), Error> {
        if size > manifest::BYTES_MAX {
            return Err(bad("log.toml is too large"));
        }
        let mut bytes = Vec::new();
        entry.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
        let manifest = Manifest::decode(&bytes).map_err(bad)?;
        if manifest.generation != 0 {
            return Err(bad("log.toml names another generation than 0"));
        }
        let path = self.directory.join(name::MANIFEST);
        let file = self.storage.create(&path).map_err(Error::io("cannot create", &path))?;
        write_all_at(&*file, &bytes, 0).map_err(|(e, _)| Error::io("cannot write", &path)(e))?;
        self.manifest = Some(manifest);
        self.stage = Stage::Watermark;
        Ok(())
    }
}

/// Looks at bytes as they stream by.
trait Check {
    fn more(&mut self, bytes: &[u8]) -> Result<(), String>;
    fn end(&self) -> Result<(), String> {
        Ok(())
    }
}

/// For files whose content is checked once they are whole.
struct Anything;

impl Check for Anything {
    fn more(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Whole blocks with dense positions and good checksums.
#[derive(Default)]
struct Whole {
    position: Position,
    header: Vec<u8>,
    body: Option<(Header, u64, crc32fast::Hasher)>,
}

impl Check for Whole {
    fn more(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some((header, left, crc)) = &mut self.body else {
                let take = (BLOCK_HEADER_BYTES - self.header.len()).min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                self.header.extend_from_slice(now);
                bytes = rest;
                if self.header.len() == BLOCK_HEADER_BYTES {
                    self.begin()?;
                }
                continue;
            };
            let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            crc.update(now);
            *left -= now.len() as u64;
            bytes = rest;
            if *left == 0 {
                let (header, crc) = (*header, crc.clone().finalize());
                self.finish(&header, crc)?;
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        if self.body.is_some() || !self.header.is_empty() {
            return Err(format!("a block is cut off at position {}", self.position));
        }
        Ok(())
    }
}

impl Whole {
    fn begin(&mut self) -> Result<(), String> {
        let (header, _) = Header::decode(&self.header)
            .map_err(|error| format!("{error} at position {}", self.position))?;
        self.header.clear();
        if header.base_position != self.position.0 {
            return Err(format!(
                "a block has position {} instead of {}",
                header.base_position, self.position
            ));
        }
        match u64::from(header.body_size) {
            0 => self.finish(&header, crc32fast::hash(&[])),
            left => {
                self.body = Some((header, left, crc32fast::Hasher::new()));
                Ok(())
            }
        }
    }

    fn finish(&mut self, header: &Header, crc: u32) -> Result<(), String> {
        self.body = None;
        if crc != header.body_crc {
            return Err(format!("the block at position {} fails its checksum", self.position));
        }
        self.position = Position(header.end_position());
        Ok(())
    }
}

fn copy(
    from: &mut dyn Read,
    to: &dyn File,
    size: u64,
    check: &mut dyn Check,
    path: &Path,
) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let faulty = |message: String| bad(format!("{name}: {message}"));
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = match from.read(&mut buffer[..want]) {
            Ok(0) => return Err(faulty("it is cut off".into())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let bytes = &buffer[..read];
        check.more(bytes).map_err(faulty)?;
        write_all_at(to, bytes, at).map_err(|(e, _)| Error::io("cannot write", path)(e))?;
        at += read as u64;
    }
    check.end().map_err(faulty)
}

/// What follows the last entry: zeros, and the end of the gzip stream, whose
/// checksum is compared only by whoever reads up to it.
fn padding(rest: &mut dyn Read) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    let mut left = PADDING_BYTES_MAX;
    loop {
        let count = rest.read(&mut buffer).map_err(unreadable)?;
        let zeros = buffer.iter().take(count).all(|byte| *byte == 0);
        match left.checked_sub(count) {
            _ if count == 0 => return Ok(()),
            Some(less) if zeros => left = less,
            _ => return Err(bad("it goes on behind its end")),
        }
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::BadArchive { message: message.into() }
}

/// The archive is at fault, unless the stream that brings it broke.
fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionAborted => {
            Error::Io { doing: "cannot read", path: "the archive".into(), source: Arc::new(error) }
        }
        _ => bad(error.to_string()),
    }
}
