//! [`Removals`]: which logs were deleted or truncated, in the data directory, until their manifests
//! say so.
//!
//! Between the removal of a log and the mark in its manifest, the server may be killed, or the store
//! may be away for days. The file keeps the removal over all that. It has a line for each step:
//! ```text
//! + <log id> <epoch> <name> <claim>     is about to be removed; synced before the removal begins
//! - <log id>                            the manifest is marked, or the log was not removed
//! ```
//! Invariant: a failure of the file prevents no removal, because a full disk is a reason for one.
//! A line that a crash has cut is skipped: each ends with a number of 32 digits.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use styx_protocol::LogId;

use super::state::LogKey;

/// The name of the file.
const FILE: &str = "archive.removals";

/// The state of a removed log that its manifest is compared with before it is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The open epoch of the log, at least 1.
    pub(crate) epoch: u32,
    /// The claim of the process that removed it.
    pub(crate) claim: u128,
}

#[derive(Debug)]
pub(super) struct Removals {
    path: PathBuf,
    /// That of this process.
    claim: u128,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Open for appending, after the first line.
    file: Option<File>,
    waiting: HashMap<LogKey, Removal>,
}

impl Removals {
    /// Reads what earlier processes have left. `claim` is that of this process.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(directory: &Path, claim: u128) -> io::Result<Removals> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        let mut waiting = HashMap::new();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match parse(line) {
                Some(Line::Begun(key, removal)) => {
                    waiting.insert(key, removal);
                }
                Some(Line::Ended(id)) => waiting.retain(|key, _| key.id != id),
                None if line.is_empty() => {}
                None => {
                    tracing::warn!("{}: skipped a line that is not valid", path.display());
                }
            }
        }
        Ok(Removals { path, claim, state: Mutex::new(State { file: None, waiting }) })
    }

    /// Adds a log that is about to be removed, durably if the disk allows it.
    pub(super) fn begin(&self, key: LogKey, epoch: u32) {
        let (LogId(id), name, removal) = (key.id, &key.name, Removal { epoch, claim: self.claim });
        let line = format!("+ {id:032x} {} {name} {:032x}\n", removal.epoch, removal.claim);
        let mut state = self.state();
        if let Err(e) = state.append(&self.path, &line).and_then(|file| file.sync_all()) {
            tracing::warn!(
                log = %name,
                "{}: cannot be written, so a crash now could leave the archive of this log \
                 without a mark that it was removed: {e}",
                self.path.display()
            );
        }
        state.waiting.insert(key, removal);
    }

    /// Removes a log whose manifest is marked, or that was not removed, unless another removal has
    /// begun meanwhile. After a crash, it may be there again.
    pub(super) fn end(&self, key: &LogKey, removal: Removal) {
        let mut state = self.state();
        if state.waiting.get(key) != Some(&removal) {
            return;
        }
        state.waiting.remove(key);
        let ended = match state.waiting.is_empty() {
            true => {
                state.file = None;
                fs::remove_file(&self.path)
            }
            false => state.append(&self.path, &format!("- {:032x}\n", key.id.0)).map(|_| ()),
        };
        if let Err(e) = ended {
            tracing::debug!("{}: {e}", self.path.display());
        }
    }

    pub(super) fn get(&self, key: &LogKey) -> Option<Removal> {
        self.state().waiting.get(key).copied()
    }

    /// The logs whose removal an earlier process has begun, and that have no mark yet.
    pub(super) fn earlier(&self) -> Vec<(LogKey, Removal)> {
        let state = self.state();
        let waiting = state.waiting.iter().map(|(key, removal)| (key.clone(), *removal));
        waiting.filter(|(_, removal)| removal.claim != self.claim).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Appends a line. The first one creates the file, and makes its name durable.
    fn append(&mut self, path: &Path, line: &str) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                if let Some(directory) = path.parent() {
                    File::open(directory)?.sync_all()?;
                }
                // A crash may have cut the last line. An empty line is skipped.
                (&file).write_all(b"\n")?;
                file
            }
        };
        let file = self.file.insert(file);
        file.write_all(line.as_bytes())?;
        Ok(file)
    }
}

enum Line {
    Begun(LogKey, Removal),
    Ended(LogId),
}

/// A line without its end.
fn parse(line: &str) -> Option<Line> {
    let number = |text: &str| {
        let number = u128::from_str_radix(text, 16).ok();
        number.filter(|_| text.len() == 32)
    };
    let mut fields = line.splitn(4, ' ');
    match fields.next()? {
        "+" => {
            let id = LogId(number(fields.next()?)?);
            let epoch = fields.next()?.parse().ok()?;
            let (name, claim) = fields.next()?.rsplit_once(' ')?;
            let key = LogKey { id, name: name.parse().ok()? };
            Some(Line::Begun(key, Removal { epoch, claim: number(claim)? }))
        }
        "-" => Some(Line::Ended(LogId(number(fields.next()?)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> LogKey {
        LogKey { id: LogId(number), name: format!("log-{number}").parse().expect("a name") }
    }

    fn open(directory: &tempfile::TempDir, claim: u128) -> Removals {
        Removals::open(directory.path(), claim).expect("opened")
    }

    #[test]
    fn removals_outlive_the_process_until_they_end() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = open(&directory, 1);
        first.begin(key(1), 7);
        first.begin(key(2), 8);
        first.end(&key(1), Removal { epoch: 7, claim: 1 });
        drop(first);

        let second = open(&directory, 2);
        let removal = Removal { epoch: 8, claim: 1 };
        assert_eq!(second.earlier(), [(key(2), removal)]);
        second.begin(key(3), 9);
        assert_eq!(second.earlier(), [(key(2), removal)]);
        second.end(&key(2), removal);
        second.end(&key(3), Removal { epoch: 9, claim: 2 });
        assert!(!directory.path().join(FILE).exists());
        assert!(open(&directory, 3).earlier().is_empty());
    }

    #[test]
    fn end_of_an_earlier_removal_leaves_a_later_one() {
        let directory = tempfile::tempdir().expect("temporary directory");
        open(&directory, 1).begin(key(1), 7);
        let second = open(&directory, 2);
        second.begin(key(1), 8);
        second.end(&key(1), Removal { epoch: 7, claim: 1 });
        assert_eq!(second.get(&key(1)), Some(Removal { epoch: 8, claim: 2 }));
    }

    #[test]
    fn cut_and_wrong_lines_are_skipped() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join(FILE);
        let line = format!("+ {:032x} 3 log-5 {:032x}\n", 5, 6);
        for cut in 0..line.len() {
            fs::write(&path, format!("{line}nonsense\n+ 1 2\n{}", &line[..cut])).expect("written");
            let removals = open(&directory, 1);
            assert_eq!(removals.earlier(), [(key(5), Removal { epoch: 3, claim: 6 })]);
            removals.begin(key(6), 1);
            assert_eq!(open(&directory, 2).earlier().len(), 2, "{cut}");
        }
    }

    #[test]
    fn file_that_cannot_be_written_prevents_no_removal() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let removals = open(&directory, 1);
        fs::create_dir(directory.path().join(FILE)).expect("in the way");
        removals.begin(key(1), 1);
        assert!(removals.get(&key(1)).is_some());
    }
}
