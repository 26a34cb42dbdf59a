//! The server's memory for requests and responses, shared by all connections.
//!
//! ```text
//! request    RequestBudget ─▶ Reservation      a body or connection waits, then is refused
//!            ProducerMemory                    a stream connection's Reservation
//!            SlowSender                        refuses a sender that is slow while others wait
//! response   ResponseBudget ─▶ ResponseChunks ─▶ ChunkReservation
//!                                              small chunks while memory is short, never refused
//! ```
//!
//! Both budgets are bounded in bytes, whatever peers do.

mod producer;
mod request;
mod response;
mod slow_sender;

pub(crate) use producer::ProducerMemory;
pub(crate) use request::{RequestBudget, Reservation};
pub(crate) use response::{ChunkReservation, ResponseBudget, ResponseChunks};
pub(crate) use slow_sender::{Sending, SlowSender};

/// A connection that holds no more than this may wait for memory without limit:
/// others gain little by refusing it.
pub(crate) const UNLIMITED_WAIT_BYTES_MAX: usize = 16 << 10;
