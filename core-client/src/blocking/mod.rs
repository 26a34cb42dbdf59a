//! The same types for programs without an executor: each call waits on the caller's own
//! thread, which needs no runtime.
//!
//! ```no_run
//! use styx_client::blocking::Client;
//!
//! # fn main() -> Result<(), styx_client::Error> {
//! let client = Client::connect("styx://localhost:7123")?;
//! let producer = client.producer("orders").open()?;
//! let position = producer.send(b"book")?;
//! println!("at {position}");
//! producer.close()?;
//! for batch in client.consumer("orders").open()?.batches() {
//!     batch?.payloads().for_each(|payload| println!("{}", payload.escape_ascii()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each method has the guarantees of the method with the same name outside this module.
//! [`wait`] and [`wait_for`] wait for any future of this crate. For example, `wait_for`
//! adds a timeout to a call.

mod client;
mod consumer;
mod producer;

pub use crate::wait::{block_on as wait, block_on_for as wait_for};
pub use client::{Backup, Builder, Client, Restore};
pub use consumer::{Batches, Commit, Consumer, ConsumerBuilder};
pub use producer::{Ack, Producer, ProducerBuilder};

/// Defines builder methods that call the wrapped builder.
macro_rules! forward {
    ($builder:ty => $to:literal: $($name:ident($value:ty)),* $(,)?) => {
        impl $builder {
            #[doc = concat!("See [`", $to, "::set`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`", $to, "::set`].")]
            pub fn set(mut self, key: &str, value: &str) -> Result<Self, Error> {
                self.0 = self.0.set(key, value)?;
                Ok(self)
            }

            $(
                #[doc = concat!("See [`", $to, "::", stringify!($name), "`].")]
                pub fn $name(mut self, value: $value) -> Self {
                    self.0 = self.0.$name(value);
                    self
                }
            )*
        }
    };
}
use forward;
