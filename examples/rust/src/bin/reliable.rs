//! Counts the records of a log by their first word. It counts each record exactly once, even
//! if the program or the server is killed.
//!
//! Shows: exactly-once processing. The program stores its checkpoint in the same file as its
//! output, and replaces the file atomically. So the checkpoint and the output always match.
//! With a database, store both in one transaction.
//!
//! ```console
//! cargo run -p styx-examples --bin reliable -- orders totals.txt
//! ```
//! Stop it with Ctrl-C or kill -9 at any time and start it again. Only run one process per
//! file at a time.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use styx_client::blocking::Client;
use styx_client::{Checkpoint, Start};

fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log, file]) = styx_examples::arguments("LOG FILE");
    let file = Path::new(&file);
    let mut totals = Totals::load(file)?;

    let client = Client::connect(&address)?;
    // If the log was truncated or recreated since the checkpoint, opening fails with
    // `log_changed`, so that other records are not mistaken for the old ones.
    let start = totals.checkpoint.map_or(Start::Start, Start::Checkpoint);
    let mut consumer = client.consumer(&log).start(start).follow(true).open()?;
    eprintln!("counting from position {}", consumer.position());

    while let Some(batch) = consumer.next_batch()? {
        batch.payloads().for_each(|payload| totals.add(payload));
        totals.checkpoint = Some(batch.checkpoint());
        totals.store(file)?;
    }
    Ok(())
}

/// The output and its checkpoint.
#[derive(Default)]
struct Totals {
    /// The log's id and the next record to count; `None` before the first record.
    checkpoint: Option<Checkpoint>,
    counts: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let word = text.split_whitespace().next().unwrap_or("");
        *self.counts.entry(word.to_owned()).or_default() += 1;
    }

    /// Reads what [`store`](Self::store) wrote: the checkpoint in the first line, then one
    /// count and its word per line.
    fn load(file: &Path) -> Result<Totals, Box<dyn Error>> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Totals::default()),
            text => text?,
        };
        let mut lines = text.lines();
        let checkpoint = Some(lines.next().unwrap_or("").parse()?);
        let mut counts = BTreeMap::new();
        for line in lines {
            let (count, word) = line.split_once(' ').ok_or("a line without a space")?;
            counts.insert(word.to_owned(), count.parse()?);
        }
        Ok(Totals { checkpoint, counts })
    }

    /// Replaces the file atomically: after a crash it is the old file or the new one.
    fn store(&self, file: &Path) -> io::Result<()> {
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        let part = file.with_extension("part");
        let mut output = BufWriter::new(File::create(&part)?);
        writeln!(output, "{checkpoint}")?;
        for (word, count) in &self.counts {
            writeln!(output, "{count} {word}")?;
        }
        // Sync the contents first, then rename, then sync the directory.
        output.into_inner()?.sync_all()?;
        fs::rename(&part, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
