//! Prints the records that are appended to a log from now on, until Ctrl-C.
//!
//! Shows: following a log in asynchronous code. When the server restarts, the consumer
//! reconnects and continues at its position.
//!
//! ```console
//! cargo run -p styx-examples --bin follow -- orders
//! ```

use std::error::Error;
use std::io::{self, Write};

use styx_client::{Client, Start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (address, [log]) = styx_examples::arguments("LOG");
    let client = Client::connect(&address).await?;
    let mut consumer = client.consumer(&log).start(Start::End).follow(true).open().await?;
    eprintln!("following {log} from position {}", consumer.position());

    loop {
        // `next_batch` is cancel safe: dropping it loses no record.
        let batch = tokio::select! {
            batch = consumer.next_batch() => batch?,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(batch) = batch else { break };
        let mut output = io::stdout().lock();
        for payload in batch.payloads() {
            output.write_all(payload)?;
            output.write_all(b"\n")?;
        }
    }
    eprintln!("stopped at position {}", consumer.position());
    Ok(())
}
