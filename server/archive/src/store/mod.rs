//! [`Store`]: the objects of an archive, in a bucket or in a directory.
//!
//! ```text
//! Store ─▶ patient client ─▶ get, put, head, list, delete ─┐
//!      └─▶ strict client ──▶ conditional put               ├▶ connector (hyper, rustls) ─▶ network
//!      └─▶ directory ──────▶ conditional put under a lock  ┘
//! ```
//!
//! Invariant: every request ends: opening a connection and a lack of progress have deadlines. What
//! is read is bounded before it is allocated.

mod connector;
mod counts;
mod credentials;
mod error;
mod location;
mod locked;
mod open;
mod options;
mod pace;
mod tls;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};

pub use counts::{Counts, OUTCOMES, Outcome, VERBS, Verb};
pub use error::{Error, Kind};
pub use location::Location;
pub use options::{Checksum, Options};
pub(crate) use pace::Pace;

/// The version of an object for a conditional write. It never returns once the object has changed,
/// because the bytes of registers never repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(object_store::UpdateVersion);

impl Version {
    pub(crate) fn of_tag(tag: String) -> Version {
        Version(object_store::UpdateVersion { e_tag: Some(tag), version: None })
    }
}

/// What a store says about an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The length in bytes.
    pub bytes: u64,
    /// The CRC-32C that the uploader stored with the object. `None` in a directory, which has no
    /// place for it, and for objects that something else wrote.
    pub crc: Option<u32>,
    /// When the object was written, by the clock of the store, in µs since the epoch.
    pub modified_us: u64,
}

/// A key of a listing, with the length and the time of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key without the prefix of the archive.
    pub key: String,
    /// The length in bytes.
    pub bytes: u64,
    /// When the object was written, by the clock of the store, in µs since the epoch.
    pub modified_us: u64,
}

/// The objects of an archive. Cheap to clone. Its futures must be awaited on a tokio runtime.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    location: Location,
    patient: Arc<dyn ObjectStore>,
    strict: Arc<dyn ObjectStore>,
    counts: Counts,
}

/// The name of the attribute with the CRC-32C. Azure allows no hyphen in such a name.
const CRC_ATTRIBUTE: &str = "styxcrc32c";

/// The size of the frames in which a body is sent.
const FRAME_BYTES: usize = 64 << 10;

/// The size of the parts of a large upload.
pub const PART_BYTES: u64 = 16 << 20;

/// Objects above this size are uploaded in parts.
pub const SINGLE_BYTES_MAX: u64 = 32 << 20;

/// Parts of one upload that are sent at the same time.
const PARTS_AT_ONCE: usize = 2;

impl Store {
    /// Opens a store. Sends no request.
    ///
    /// # Errors
    /// The URL or an option cannot work, or the directory does not exist.
    pub fn open(url: &str, options: &Options) -> Result<Store, Error> {
        let location = Location::parse(url)?;
        let open::Clients { patient, strict } = open::open(&location, options)?;
        Ok(Store(Arc::new(Shared { location, patient, strict, counts: Counts::default() })))
    }

    /// Where the archive is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// Requests and bytes since the store was opened.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The directory, if the store is one.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match &self.0.location {
            Location::Directory(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// Reads a whole object of at most `bytes_max` bytes, and its version.
    ///
    /// # Errors
    /// Also if the object is larger, or if it was cut on its way.
    pub async fn get(&self, key: &str, bytes_max: u64) -> Result<(Bytes, Version), Error> {
        let got = self.get_if_changed(key, bytes_max, None).await?;
        let unasked = || Error::new(Kind::Damaged, format!("get {key}"), "it has no condition");
        got.ok_or_else(unasked)
    }

    /// As [`Store::get`], but returns `None` if the object still has this version.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get_if_changed(
        &self,
        key: &str,
        bytes_max: u64,
        known: Option<&Version>,
    ) -> Result<Option<(Bytes, Version)>, Error> {
        let what = || format!("get {key}");
        let result = async {
            let is_directory = self.directory().is_some();
            // The version of a file is not that of the client for directories.
            let tag = known.filter(|_| !is_directory).and_then(|known| known.0.e_tag.clone());
            let options = GetOptions::new().with_if_none_match(tag);
            let got = match self.0.patient.get_opts(&self.path(key)?, options).await {
                Err(object_store::Error::NotModified { .. }) => return Ok(None),
                got => got.map_err(|e| Error::of(what(), &e))?,
            };
            let size = got.meta.size;
            if size > bytes_max {
                let why = format!("{size} bytes, but at most {bytes_max} are expected");
                return Err(Error::new(Kind::Damaged, what(), why));
            }
            let version = object_store::UpdateVersion {
                e_tag: got.meta.e_tag.clone(),
                version: got.meta.version.clone(),
            };
            let bytes = collect(got, size, what).await?;
            let version = if is_directory { locked::version(&bytes) } else { Version(version) };
            Ok((known != Some(&version)).then_some((bytes, version)))
        }
        .await;
        let received = result.as_ref().ok().and_then(Option::as_ref);
        self.count_received(received.map_or(0, |(bytes, _)| bytes.len()));
        self.0.counts.add(Verb::Get, &result);
        result
    }

    /// Reads a range of an object.
    ///
    /// # Errors
    /// Also if the object ends within the range.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let what = || format!("get {key} {}..{}", range.start, range.end);
        let result = async {
            let options = GetOptions::new().with_range(Some(range.clone()));
            let got = self.0.patient.get_opts(&self.path(key)?, options).await;
            let got = got.map_err(|e| Error::of(what(), &e))?;
            if got.range != range {
                let why = format!("the object has only {} bytes", got.meta.size);
                return Err(Error::new(Kind::Damaged, what(), why));
            }
            collect(got, range.end - range.start, what).await
        }
        .await;
        self.count_received(result.as_ref().map_or(0, Bytes::len));
        self.0.counts.add(Verb::Get, &result);
        result
    }

    /// Writes an object of at most [`SINGLE_BYTES_MAX`] bytes, replacing one with the same key.
    ///
    /// # Errors
    /// The object may exist after an error too.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let options = PutOptions {
            mode: PutMode::Overwrite,
            attributes: self.attributes(crc32c::crc32c(&bytes)),
            ..PutOptions::default()
        };
        let size = bytes.len() as u64;
        let result = match self.path(key) {
            Ok(path) => self.0.patient.put_opts(&path, payload(bytes), options).await,
            Err(e) => return Err(e),
        };
        let result = result.map(drop).map_err(|e| Error::of(format!("put {key}"), &e));
        self.0.counts.add(Verb::Put, &result);
        if result.is_ok() {
            self.0.counts.add_sent(size);
        }
        result
    }

    /// Writes an object in parts of [`PART_BYTES`], replacing one with the same key. `read` returns
    /// the bytes of a range of the object; it may block. `crc` is the CRC-32C of all bytes.
    ///
    /// # Errors
    /// The store failed, `read` failed, or the bytes do not have this checksum: then nothing is
    /// written. After a failure to complete the upload, the object may exist.
    pub async fn put_in_parts<R>(
        &self,
        key: &str,
        bytes: u64,
        crc: u32,
        read: R,
    ) -> Result<(), Error>
    where
        R: Fn(Range<u64>) -> Result<Bytes, String> + Send + Sync + 'static,
    {
        let what = || format!("put {key}");
        let options =
            PutMultipartOptions { attributes: self.attributes(crc), ..Default::default() };
        let path = self.path(key)?;
        let begun = self.0.patient.put_multipart_opts(&path, options).await;
        let begun = begun.map_err(|e| Error::of(what(), &e));
        self.0.counts.add(Verb::Put, &begun);
        let mut upload = begun?;

        let read = Arc::new(read);
        let mut sending = FuturesUnordered::new();
        let (mut at, mut sent_crc) = (0, 0);
        let sent = async {
            loop {
                while at < bytes && sending.len() < PARTS_AT_ONCE {
                    let range = at..bytes.min(at + PART_BYTES);
                    at = range.end;
                    let (read, wanted) = (read.clone(), range.end - range.start);
                    let part = tokio::task::spawn_blocking(move || read(range)).await;
                    let part =
                        part.map_err(|e| Error::new(Kind::Damaged, what(), e.to_string()))?;
                    let part = part.map_err(|why| Error::new(Kind::Damaged, what(), why))?;
                    if part.len() as u64 != wanted {
                        return Err(Error::new(Kind::Damaged, what(), "the file is too short"));
                    }
                    sent_crc = crc32c::crc32c_append(sent_crc, &part);
                    sending.push(upload.put_part(payload(part)));
                }
                let Some(sent) = sending.next().await else { break };
                let sent = sent.map_err(|e| Error::of(what(), &e));
                self.0.counts.add(Verb::Put, &sent);
                sent?;
            }
            match sent_crc == crc {
                true => Ok(()),
                false => Err(Error::new(Kind::Damaged, what(), "the file has changed")),
            }
        }
        .await;
        drop(sending);
        if let Err(e) = sent {
            // The lifecycle rule of the bucket removes the parts if this fails too.
            let _ = upload.abort().await;
            return Err(e);
        }
        let completed = upload.complete().await.map(drop).map_err(|e| Error::of(what(), &e));
        self.0.counts.add(Verb::Put, &completed);
        if completed.is_ok() {
            self.0.counts.add_sent(bytes);
        }
        completed
    }

    /// Writes an object if it has this version, or if it does not exist: once, without another
    /// attempt. Only for [`Register`](crate::register::Register) and the probe.
    ///
    /// # Errors
    /// [`Kind::Condition`] says that the store claims that the condition does not hold. After every
    /// error the object may have been written.
    pub(crate) async fn put_if(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: Bytes,
    ) -> Result<Option<Version>, Error> {
        if let Some(directory) = self.directory() {
            let path = directory.join(self.path(key)?.as_ref());
            let written = locked::put_if(directory, path, expected.cloned(), bytes).await;
            self.0.counts.add(Verb::Put, &written);
            return written.map(Some);
        }
        let mode = match expected {
            None => PutMode::Create,
            Some(version) => PutMode::Update(version.0.clone()),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let result = self.0.strict.put_opts(&self.path(key)?, payload(bytes), options).await;
        let result = result.map_err(|e| Error::of(format!("put {key} with a condition"), &e));
        self.0.counts.add(Verb::Put, &result);
        let put = result?;
        // Without a tag, the next condition would be no condition.
        let known = put.e_tag.is_some() || put.version.is_some();
        Ok(known.then(|| Version(put.into())))
    }

    /// What the store says about an object.
    ///
    /// # Errors
    /// [`Kind::Missing`] if it does not exist.
    pub async fn head(&self, key: &str) -> Result<Description, Error> {
        let options = GetOptions::new().with_head(true);
        let result = self.0.patient.get_opts(&self.path(key)?, options).await;
        let result = result.map_err(|e| Error::of(format!("head {key}"), &e));
        self.0.counts.add(Verb::Head, &result);
        let got = result?;
        let crc = got.attributes.get(&Attribute::Metadata(CRC_ATTRIBUTE.into()));
        Ok(Description {
            bytes: got.meta.size,
            crc: crc.and_then(|crc| u32::from_str_radix(crc, 16).ok()),
            modified_us: got.meta.last_modified.timestamp_micros().try_into().unwrap_or(0),
        })
    }

    /// The objects whose keys begin with the path `folder`, in no particular order.
    ///
    /// # Errors
    /// The store failed, or `keys_max` was exceeded.
    pub async fn list(&self, folder: &str, keys_max: usize) -> Result<Vec<Listed>, Error> {
        let what = || format!("list {folder}");
        let prefix = self.path("")?;
        let mut listing = self.0.patient.list(Some(&self.path(folder)?));
        let mut listed = Vec::new();
        let result = async {
            while let Some(meta) = listing.try_next().await.map_err(|e| Error::of(what(), &e))? {
                if listed.len() == keys_max {
                    let why = format!("more than {keys_max} objects");
                    return Err(Error::new(Kind::Damaged, what(), why));
                }
                let key = meta.location.as_ref();
                let key = key.strip_prefix(prefix.as_ref()).unwrap_or(key).trim_start_matches('/');
                let modified_us = meta.last_modified.timestamp_micros();
                listed.push(Listed {
                    key: key.to_owned(),
                    bytes: meta.size,
                    modified_us: modified_us.try_into().unwrap_or(0),
                });
            }
            Ok(())
        }
        .await;
        self.0.counts.add(Verb::List, &result);
        result.map(|()| listed)
    }

    /// The names of the folders directly in `folder`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let result = self.0.patient.list_with_delimiter(Some(&self.path(folder)?)).await;
        let result = result.map_err(|e| Error::of(format!("list {folder}"), &e));
        self.0.counts.add(Verb::List, &result);
        let folders = result?.common_prefixes.into_iter();
        Ok(folders.filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Removes an object. An object that does not exist is no error.
    ///
    /// # Errors
    /// The store failed. The object may be gone.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let result = self.0.patient.delete(&self.path(key)?).await;
        let result = result.map_err(|e| Error::of(format!("delete {key}"), &e));
        self.0.counts.add(Verb::Delete, &result);
        match result {
            Err(e) if e.kind == Kind::Missing => Ok(()),
            result => result,
        }
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        let prefix = self.0.location.prefix();
        let path = match (prefix.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => prefix.to_owned(),
            (false, false) => format!("{prefix}/{key}"),
        };
        Path::parse(&path).map_err(|e| Error::new(Kind::Invalid, path, e.to_string()))
    }

    fn attributes(&self, crc: u32) -> Attributes {
        let mut attributes = Attributes::new();
        if self.directory().is_none() {
            let crc = format!("{crc:08x}");
            attributes.insert(Attribute::Metadata(CRC_ATTRIBUTE.into()), crc.into());
        }
        attributes
    }

    fn count_received(&self, bytes: usize) {
        self.0.counts.add_received(bytes as u64);
    }
}

/// The bytes of an answer, of which `size` are expected.
async fn collect(
    got: object_store::GetResult,
    size: u64,
    what: impl Fn() -> String,
) -> Result<Bytes, Error> {
    let capacity = usize::try_from(size)
        .map_err(|_| Error::new(Kind::Damaged, what(), "larger than the memory"))?;
    let mut bytes = BytesMut::with_capacity(capacity);
    let mut stream = got.into_stream();
    while let Some(piece) = stream.try_next().await.map_err(|e| Error::of(what(), &e))? {
        if bytes.len() + piece.len() > capacity {
            return Err(Error::new(Kind::Damaged, what(), "more bytes than announced"));
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() < capacity {
        let why = format!("cut after {} of {capacity} bytes", bytes.len());
        return Err(Error::new(Kind::Unavailable, what(), why));
    }
    Ok(bytes.freeze())
}

/// A body in frames, so that progress can be seen.
fn payload(bytes: Bytes) -> PutPayload {
    let frames = (0..bytes.len()).step_by(FRAME_BYTES);
    frames.map(|at| bytes.slice(at..bytes.len().min(at + FRAME_BYTES))).collect()
}
