//! HTTP/1.1 in bytes, without a library between the test and the server.
//!
//! A [`Request`] becomes bytes, a [`Connection`] sends them and parses answers, and a
//! [`Response`] holds the result.

mod connection;
mod request;
mod response;

pub use connection::Connection;
pub use request::Request;
pub use response::{Ending, Head, Response};
