//! Appends the lines of a file to a log, each exactly once, however often the program is
//! started and killed.
//!
//! Shows: an idempotent import. The log remembers a producer with a fixed id, and the number
//! of its records. When the program starts again, it gets this number and continues after
//! these records.
//!
//! ```console
//! cargo xtask flights
//! cargo run -p styx-examples --bin import -- flights target/flights/flights.csv
//! ```
//! Kill it and start it again with the same file and log. Do so within 7 days, because a log
//! forgets an inactive producer after that time.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use styx_client::blocking::Client;
use styx_client::{Codec, LogConfig};

/// The producer's id. It may be any number, but each file that is imported into the same log
/// needs another one.
const PRODUCER_ID: u64 = 2013;

fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log, file]) = styx_examples::arguments("LOG FILE");
    let client = Client::connect(&address)?;
    client.create_log(&log, LogConfig::default(), true)?;

    // From here on, an earlier producer with this id can no longer append, so two
    // concurrent imports cannot interleave.
    let producer = client.producer(&log).producer_id(PRODUCER_ID).compression(Codec::Lz4);
    let producer = producer.open()?;
    let done = producer.next_sequence();
    println!("{done} lines are in the log");

    // The number of a line in the file is the sequence of its record.
    let lines = BufReader::new(File::open(file)?).split(b'\n');
    for line in lines.skip(usize::try_from(done)?) {
        producer.append(&line?)?;
    }
    producer.close()?;
    println!("{} lines imported", producer.next_sequence() - done);
    Ok(())
}
