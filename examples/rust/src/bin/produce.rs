//! Appends every line of its input to a log, and says where the last one is.
//!
//! Shows: making a log, appending without waiting for each record, and waiting
//! for all of them in the end.
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
        // Returns at once, or waits while 32 MiB are under way. The ack can be
        // dropped: `close` reports what no ack has told.
        last = Some(producer.append(&line?)?);
    }
    // Returns when every record is on the server's disk.
    producer.close()?;

    match last {
        Some(ack) => {
            println!("{} lines, the last at position {}", ack.sequence() + 1, ack.position()?)
        }
        None => println!("no lines"),
    }
    Ok(())
}
