//! Producers and followers that keep notes for the [checker](crate::checker)
//! while a server is killed under them.
//!
//! [`Gate`] tells them where the server is, and holds them while there is none
//! and while an audit reads; [`Workload`] is the lot of them.

mod follower;
mod gate;
mod producer;
mod workload;

pub use gate::Gate;
pub use producer::Style;
pub use workload::{LogPlan, Workload};
