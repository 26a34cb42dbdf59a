//! [`Ledger`]: the notes of producers and followers while they work, one line each,
//! written to the file before they continue. [`Notes`]: the parsed ledger.
//!
//! ```text
//! idempotent LOG PRODUCER                    its records have no gaps
//! attempt LOG PRODUCER FIRST COUNT           about to send these as one append
//! acked LOG PRODUCER FIRST COUNT END         END: position after them, or -
//! seen LOG POSITION CRC                      a follower was given this
//! ```
//!
//! During a power cut ([`Ledger::lose_power`]) nothing more counts as acked or seen: a
//! filesystem that is being shut down may still report success for a sync.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A file of notes. Shared by all threads that work.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    pen: Mutex<Pen>,
}

#[derive(Debug)]
struct Pen {
    file: File,
    /// Whether the servers have power, so that their answers count.
    power: bool,
}

impl Ledger {
    /// Creates an empty ledger.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn create(path: &Path) -> Ledger {
        let file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Ledger { path: path.to_owned(), pen: Mutex::new(Pen { file, power: true }) }
    }

    /// The power is off: stops noting acks and seen records.
    pub fn lose_power(&self) {
        self.pen().power = false;
    }

    /// The power is on again: notes everything.
    pub fn regain_power(&self) {
        self.pen().power = true;
    }

    /// Whether answers count.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.pen().power
    }

    /// This producer retries unacked records: its records have no gaps.
    pub fn idempotent(&self, log: &str, producer: u32) {
        self.note(&format!("idempotent {log} {producer}\n"));
    }

    /// These records are about to be sent, as one atomic append.
    pub fn attempt(&self, log: &str, producer: u32, first: u64, count: u32) {
        self.note(&format!("attempt {log} {producer} {first} {count}\n"));
    }

    /// These records were acknowledged. `end` is the position after them, if the answer
    /// has it. Returns whether the ack counts.
    pub fn acked(
        &self,
        log: &str,
        producer: u32,
        first: u64,
        count: u32,
        end: Option<u64>,
    ) -> bool {
        let end = end.map_or_else(|| "-".to_owned(), |end| end.to_string());
        self.note_with_power(&format!("acked {log} {producer} {first} {count} {end}\n"))
    }

    /// A follower received these records, from this position on. Returns whether that
    /// counts.
    pub fn seen(&self, log: &str, first: u64, records: &[Vec<u8>]) -> bool {
        let mut lines = String::new();
        for (position, record) in (first..).zip(records) {
            let _ = writeln!(lines, "seen {log} {position} {}", crc32fast::hash(record));
        }
        self.note_with_power(&lines)
    }

    fn note(&self, lines: &str) {
        self.pen().write(lines);
    }

    fn note_with_power(&self, lines: &str) -> bool {
        let mut pen = self.pen();
        if pen.power {
            pen.write(lines);
        }
        pen.power
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().expect("no thread panics while it writes a note")
    }

    /// All notes so far.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn notes(&self) -> Notes {
        Notes::read(&self.path)
    }
}

impl Pen {
    fn write(&mut self, lines: &str) {
        self.file.write_all(lines.as_bytes()).expect("the ledger can be written");
    }
}

/// Records that were sent as one atomic append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The producer that sent them.
    pub producer: u32,
    /// The first one's sequence.
    pub first: u64,
    /// The number of records.
    pub count: u32,
}

/// An attempt that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// The attempt.
    pub attempt: Attempt,
    /// The position after its last record, if the answer had it.
    pub end: Option<u64>,
}

/// The notes about one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// By producer and first sequence.
    pub attempts: BTreeMap<(u32, u64), Attempt>,
    /// In the order of the acks.
    pub acked: Vec<Acked>,
    /// Position and CRC-32 of the records that followers received.
    pub seen: BTreeMap<u64, u32>,
    /// Positions at which two followers received different records.
    pub seen_changed: Vec<u64>,
    /// Producers whose records have no gaps.
    pub idempotent: HashSet<u32>,
    /// The notes about other logs.
    others: HashMap<String, Notes>,
}

impl Notes {
    /// Reads a ledger's file. Ignores an incomplete last line.
    ///
    /// # Panics
    /// When it cannot be read or holds something else.
    #[must_use]
    pub fn read(path: &Path) -> Notes {
        let text = std::fs::read_to_string(path).expect("the ledger can be read");
        let mut notes = Notes::default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            notes.add(line.trim_end()).unwrap_or_else(|| panic!("not a note: {line:?}"));
        }
        notes
    }

    /// The notes about this log.
    #[must_use]
    pub fn of(&self, log: &str) -> Notes {
        self.others.get(log).cloned().unwrap_or_default()
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let (kind, log) = (words.next()?, words.next()?);
        let notes = self.others.entry(log.to_owned()).or_default();
        let mut number = || words.next()?.parse::<u64>().ok();
        match kind {
            "idempotent" => drop(notes.idempotent.insert(u32::try_from(number()?).ok()?)),
            "attempt" | "acked" => {
                let attempt = Attempt {
                    producer: u32::try_from(number()?).ok()?,
                    first: number()?,
                    count: u32::try_from(number()?).ok()?,
                };
                if kind == "acked" {
                    notes.acked.push(Acked { attempt, end: number() });
                } else {
                    notes.attempts.insert((attempt.producer, attempt.first), attempt);
                }
            }
            "seen" => {
                let (position, crc) = (number()?, u32::try_from(number()?).ok()?);
                let before = *notes.seen.entry(position).or_insert(crc);
                if before != crc {
                    notes.seen_changed.push(position);
                }
            }
            _ => return None,
        }
        Some(())
    }
}
