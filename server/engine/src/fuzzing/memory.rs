//! [`MemoryStorage`]: an in-memory [`Storage`] that never fails, for fast fuzzing.
//!
//! Invariant: nothing is lost; a sync does nothing. The simulation has a disk that loses data.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::storage::{Access, DirectoryEntry, File, Lock, Storage};
use crate::sync::lock;

/// Files and directories in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryStorage(Arc<Mutex<BTreeMap<PathBuf, Node>>>);

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File(Arc<Content>),
}

#[derive(Debug)]
struct Content(Mutex<Vec<u8>>);

#[derive(Debug)]
struct HeldLock;

impl Lock for HeldLock {}

/// Creates a file with these bytes, outside of any storage.
pub(super) fn file(bytes: Vec<u8>) -> Arc<dyn File> {
    Arc::new(Content(Mutex::new(bytes)))
}

impl MemoryStorage {
    /// Stores a file and creates its missing parent directories.
    pub(super) fn put(&self, path: &str, bytes: Vec<u8>) {
        let path = Path::new(path);
        self.create_dir_all(path.parent().expect("a path with a parent")).expect("memory");
        let node = Node::File(Arc::new(Content(Mutex::new(bytes))));
        lock(&self.0).insert(path.to_owned(), node);
    }

    /// The paths and bytes of all files whose paths have this suffix.
    pub(super) fn files(&self, suffix: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let nodes = lock(&self.0);
        let files = nodes.iter().filter_map(|(path, node)| match node {
            Node::File(content) if path.to_string_lossy().ends_with(suffix) => {
                Some((path.clone(), lock(&content.0).clone()))
            }
            _ => None,
        });
        files.collect()
    }
}

impl Storage for MemoryStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match lock(&self.0).insert(path.to_owned(), Node::Directory) {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => Ok(()),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        for above in path.ancestors() {
            lock(&self.0).entry(above.to_owned()).or_insert(Node::Directory);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let nodes = lock(&self.0);
        let Some(Node::Directory) = nodes.get(path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let inside = nodes.iter().filter(|(inner, _)| inner.parent() == Some(path));
        let entry = |(path, node): (&PathBuf, &Node)| DirectoryEntry {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            is_dir: matches!(node, Node::Directory),
            len: match node {
                Node::File(content) => lock(&content.0).len() as u64,
                Node::Directory => 0,
            },
        };
        Ok(inside.map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut nodes = lock(&self.0);
        if nodes.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Content(Mutex::default()));
        nodes.insert(path.to_owned(), Node::File(Arc::clone(&content)));
        Ok(content)
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        match lock(&self.0).get(path) {
            Some(Node::File(content)) => Ok(Arc::clone(content) as Arc<dyn File>),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = lock(&self.0);
        let moved: Vec<PathBuf> =
            nodes.keys().filter(|path| path.starts_with(from)).cloned().collect();
        if moved.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for old in moved {
            let behind = old.strip_prefix(from).expect("the path starts with `from`");
            let new = if behind == Path::new("") { to.to_owned() } else { to.join(behind) };
            if let Some(node) = nodes.remove(&old) {
                nodes.insert(new, node);
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let gone = lock(&self.0).remove(path);
        gone.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).retain(|inner, _| !inner.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match lock(&self.0).get(path) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lock(&self, _: &Path, _: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        Ok(Ok(Box::new(HeldLock)))
    }
}

impl File for Content {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - from);
        buf[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buf, offset).map(Some)
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        let from = usize::try_from(offset).expect("it fits in memory");
        let end = from + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(written);
        Ok(written.len())
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.0).resize(usize::try_from(len).expect("it fits in memory"), 0);
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}
