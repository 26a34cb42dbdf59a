//! The checker that every fault test uses.
//!
//! Producers append [`Payload`]s, which contain their producer and sequence. They note
//! in a [`Ledger`] every append before they send it, and every ack. Followers note the
//! records that they receive. After a fault, [`audit`] compares these [`Notes`] with
//! the records of the log, and returns every broken promise:
//!
//! - every acked record is at its position with its bytes;
//! - every record was attempted, and none is there twice;
//! - positions are dense, and a producer's records are in its order;
//! - an atomic append is there completely or not at all;
//! - every record that a follower saw is still there and unchanged;
//! - the log does not end before an acked or seen record.
//!
//! The ledger must be on another filesystem than the log ([`Scratch::elsewhere`]).
//!
//! [`Scratch::elsewhere`]: crate::Scratch::elsewhere

mod audit;
mod ledger;
mod payload;

pub use audit::{Recovered, Violation, audit};
pub use ledger::{Acked, Attempt, Ledger, Notes};
pub use payload::Payload;
