//! Appends the lines of a file to a log, each once, however often it is started
//! and killed.
//!
//! Shows: an idempotent import. A producer with a fixed id is remembered by the
//! log together with the number of its records: a second start asks for it and
//! goes on behind them.
//!
//! ```console
//! cargo xtask flights
//! cargo run -p styx-examples --bin import -- flights target/flights/flights.csv
//! ```
//! Kill it and start it again, with the same file and log, within 7 days: so long
//! a log remembers its producers.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use styx_client::blocking::Client;
use styx_client::{Codec, LogConfig};

/// Who imports. Any number will do, but another one for every file that goes
/// into the same log.
const PRODUCER_ID: u64 = 2013;

fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log, file]) = styx_examples::arguments("LOG FILE");
    let client = Client::connect(&address)?;
    client.create_log(&log, LogConfig::default(), true)?;

    // Whoever opened a producer of this id before is shut out from here on, so
    // that two imports at once cannot mix.
    let producer = client.producer(&log).producer_id(PRODUCER_ID).compression(Codec::Lz4);
    let producer = producer.open()?;
    let done = producer.next_sequence();
    println!("{done} lines are in the log");

    // A line's number in the file is its record's sequence.
    let lines = BufReader::new(File::open(file)?).split(b'\n');
    for line in lines.skip(usize::try_from(done)?) {
        producer.append(&line?)?;
    }
    producer.close()?;
    println!("{} lines imported", producer.next_sequence() - done);
    Ok(())
}
