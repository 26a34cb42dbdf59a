//! The Styx daemon as a library.
//!
//! ```text
//! listener → http → session → styx_engine
//! ```
//!
//! [`run`] is the whole daemon; [`Server`] is the same for those who have a
//! runtime already and want to stop it themselves.

pub mod config;
mod error;
mod run;
mod server;

pub use config::Config;
pub use error::Error;
pub use run::run;
pub use server::Server;
