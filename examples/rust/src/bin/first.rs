//! Appends a first record and reads it back. This is the program of docs/rust.md.
//!
//! ```console
//! cargo run -p styx-examples --bin first
//! ```

use styx_client::LogConfig;
use styx_client::blocking::Client;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder_from_env().connect()?;
    client.create_log("orders", LogConfig::default(), true)?;

    let producer = client.producer("orders").open()?;
    let position = producer.send(b"a book")?;
    println!("stored at position {position}");
    producer.close()?;

    let mut consumer = client.consumer("orders").start(position).open()?;
    while let Some(record) = consumer.next_record()? {
        println!("{}: {}", record.position(), String::from_utf8_lossy(record.payload()));
    }
    Ok(())
}
