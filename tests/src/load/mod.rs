//! Producers and followers that keep notes for the [checker](crate::checker)
//! while a server is killed under them.
//!
//! [`Gate`] gives them the server's address, and blocks them while there is no server
//! and during an audit. [`Workload`] is all of them together.

mod follower;
mod gate;
mod producer;
mod workload;

pub use gate::Gate;
pub use producer::Style;
pub use workload::{LogPlan, Workload};
