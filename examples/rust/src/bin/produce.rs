//! Appends every line of its input to a log, and prints the position of the last one.
//!
//! Shows: creating a log, appending without waiting for each record, and waiting for all
//! records at the end.
//!
//! ```console
//! seq 1 1000 | cargo run -p styx-examples --bin produce -- orders
//! ```

use std::error::Error;
use std::io::{self, BufRead};

use styx_client::LogConfig;
use styx_client::blocking::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log]) = styx_examples::arguments("LOG <LINES");
    let client = Client::connect(&address)?;
    client.create_log(&log, LogConfig::default(), true)?;

    let producer = client.producer(&log).open()?;
    let mut last = None;
    for line in io::stdin().lock().split(b'\n') {
        // Returns at once, or waits while 32 MiB are unacknowledged. The ack may be
        // dropped: `close` returns failures that no ack has reported.
        last = Some(producer.append(&line?)?);
    }
    // Returns when every record is durable on the server's disk.
    producer.close()?;

    match last {
        Some(ack) => {
            println!("{} lines, the last at position {}", ack.sequence() + 1, ack.position()?)
        }
        None => println!("no lines"),
    }
    Ok(())
}
