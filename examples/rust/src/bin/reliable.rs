//! Counts the records of a log by their first word, each record exactly once,
//! whatever is killed in between.
//!
//! Shows: exactly-once processing. The checkpoint, which says how far the
//! program has come, is stored in the same file as what it has made of the
//! records, and the file is replaced as a whole: there is no moment at which one
//! is newer than the other. With a database, both go into one transaction.
//!
//! ```console
//! cargo run -p styx-examples --bin reliable -- orders totals.txt
//! ```
//! Stop it with Ctrl-C or kill -9 at any moment and start it again. One process
//! a file at a time.

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
    // A checkpoint of a log that was truncated or made anew since is refused
    // with `log_changed`: other records are never taken for the old ones.
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

/// The output and the checkpoint that belongs to it.
#[derive(Default)]
struct Totals {
    /// The log's identity and the next record to count; `None` before the first.
    checkpoint: Option<Checkpoint>,
    counts: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let word = text.split_whitespace().next().unwrap_or("");
        *self.counts.entry(word.to_owned()).or_default() += 1;
    }

    /// Reads what [`store`](Self::store) wrote: the checkpoint in the first
    /// line, then a count and its word a line.
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

    /// Replaces the file: after a crash it is the old one or the new one.
    fn store(&self, file: &Path) -> io::Result<()> {
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        let part = file.with_extension("part");
        let mut output = BufWriter::new(File::create(&part)?);
        writeln!(output, "{checkpoint}")?;
        for (word, count) in &self.counts {
            writeln!(output, "{count} {word}")?;
        }
        // The bytes first, then the name, then the directory that holds it.
        output.into_inner()?.sync_all()?;
        fs::rename(&part, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
