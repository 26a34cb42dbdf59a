//! Prints all records of a log with their positions, and exits.
//!
//! Shows: reading from the first record of a log to its current end, batch by batch.
//!
//! ```console
//! cargo run -p styx-examples --bin consume -- orders
//! ```

use std::error::Error;
use std::io::{self, BufWriter, Write};

use styx_client::blocking::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log]) = styx_examples::arguments("LOG");
    let client = Client::connect(&address)?;

    let mut output = BufWriter::new(io::stdout().lock());
    let mut consumer = client.consumer(&log).open()?;
    while let Some(batch) = consumer.next_batch()? {
        for record in &batch {
            write!(output, "{} ", record.position())?;
            output.write_all(record.payload())?;
            output.write_all(b"\n")?;
        }
    }
    output.flush()?;
    Ok(())
}
