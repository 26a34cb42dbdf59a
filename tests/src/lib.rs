//! The product from outside: a server as a child process, bytes on a socket,
//! and what must be true of them.
//!
//! Nothing here uses the server's or the engine's code: what a test expects is
//! written down from the contract, and what it gets comes from the binary.
//!
//! | module | what it holds |
//! |---|---|
//! | [`binary`] | finds or builds the `styx` binary |
//! | [`scratch`] | a directory of its own for each test |
//! | [`server`] | [`TestServer`]: start, kill, restart, stop, log capture |
//! | [`http`] | HTTP/1.1 in bytes: what is sent and received is what is compared |
//! | [`api`] | create, append, read, in one line each |
//! | [`cli`] | the `styx` command as a child |
//! | [`table`] | requests and the answers they must get, row by row |
//! | [`websocket`] | WebSocket in bytes, with frames that no library would send |
//! | [`wait`] | waits for a condition instead of sleeping |
//! | [`random`] | numbers that a seed repeats |
//! | [`checker`] | what producers and followers noted, held against what was recovered |
//! | [`load`] | producers and followers that keep such notes |
//! | [`crowd`] | very many connections that wait |
//! | [`damage`] | flipped bits in a stopped server's files |
//! | [`faults`] | what all loops of faults share |
//! | [`proxy`] | a network that cuts, delays, splits and half-opens connections |
//! | [`tls`] | TLS in front of a server, and the requests that came through it |
//! | [`power`] | filesystems whose power can be cut |
//! | [`network`] | a server on a network of its own, with a cable that can be pulled |
//! | [`styx1`] | streams of styx/1, in frames and blocks |
//! | [`strace`] | system calls that fail or are slow |
//! | [`legacy`] | data of 0.x, recorded and made by hand |
//! | [`styx0`] | a client of styx/0, as plain as its bytes |

pub mod api;
pub mod binary;
pub mod checker;
pub mod cli;
pub mod crowd;
pub mod damage;
pub mod faults;
pub mod http;
pub mod legacy;
pub mod load;
pub mod network;
pub mod power;
pub mod proxy;
pub mod random;
pub mod scratch;
pub mod server;
pub mod strace;
pub mod styx0;
pub mod styx1;
pub mod table;
pub mod tls;
pub mod wait;
pub mod websocket;

pub use http::{Connection, Request, Response};
pub use scratch::Scratch;
pub use server::{Settings, TestServer};
pub use table::{Table, error, gives};
pub use websocket::WebSocket;
