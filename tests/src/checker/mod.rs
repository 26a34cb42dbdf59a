//! The checker that every fault test uses.
//!
//! Producers write [`Payload`]s, which say themselves who wrote them and in
//! which order, and note in a [`Ledger`] what they are about to send and what
//! was acknowledged; followers note what they saw. After a fault, [`audit`]
//! holds these [`Notes`] against what a log gave back, and returns everything
//! that breaks a promise:
//!
//! - every acked record is at its position with its bytes;
//! - there is nothing that was not attempted, and nothing twice;
//! - positions are dense, and a producer's records are in its order;
//! - what was sent as one atomic append is there whole or not at all;
//! - what a follower saw is still there and the same;
//! - the log does not end before anything that was acked or seen.
//!
//! The ledger belongs on another filesystem than the log ([`Scratch::elsewhere`]).
//!
//! [`Scratch::elsewhere`]: crate::Scratch::elsewhere

mod audit;
mod ledger;
mod payload;

pub use audit::{Recovered, Violation, audit};
pub use ledger::{Acked, Attempt, Ledger, Notes};
pub use payload::Payload;
