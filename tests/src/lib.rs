//! Support for black-box tests: a server as a child process, bytes on a socket, and
//! checks.
//!
//! Nothing here uses the server's or the engine's code. Expected values come from the
//! documented contract, actual values from the binary.
//!
//! | module | what it contains |
//! |---|---|
//! | [`binary`] | finds or builds the `styx` binary |
//! | [`scratch`] | a separate directory for each test |
//! | [`server`] | [`TestServer`]: start, kill, restart, stop, log capture |
//! | [`hex`] | bytes as hexadecimal text |
//! | [`http`] | HTTP/1.1 in bytes, without a library |
//! | [`http2`] | HTTP/2 in frames |
//! | [`api`] | create, append, read, in one line each |
//! | [`cli`] | the `styx` command as a child process |
//! | [`table`] | requests and the answers they must get, row by row |
//! | [`websocket`] | WebSocket in bytes, with frames that no library would send |
//! | [`wait`] | waits for a condition instead of sleeping |
//! | [`random`] | random numbers from a seed |
//! | [`checker`] | compares the notes of producers and followers with the recovered log |
//! | [`load`] | producers and followers that keep such notes |
//! | [`idle`] | thousands of idle connections |
//! | [`damage`] | flipped bits in a stopped server's files |
//! | [`faults`] | shared by all fault loops |
//! | [`prometheus`] | a Prometheus that scrapes a server, and `promtool` |
//! | [`object_store`] | an S3 server over a scratch directory |
//! | [`store_proxy`] | a proxy in front of it, which breaks exchanges on command |
//! | [`proxy`] | a network that cuts, delays, splits and half-opens connections |
//! | [`reverse_proxy`] | nginx or Caddy in front of a server |
//! | [`authority`] | a certificate authority, and certificates of servers and clients |
//! | [`tls_bridge`] | makes a server with TLS look like one without |
//! | [`tls`] | a TLS proxy in front of a server, which records requests |
//! | [`tokens`] | a server with access control, and its tokens |
//! | [`transport`] | runs tests again with another transport |
//! | [`power`] | filesystems whose power can be cut |
//! | [`network`] | a server in its own network namespace, with a link that can be cut |
//! | [`styx1`] | streams of styx/1, in frames and blocks |
//! | [`strace`] | system calls that fail or are slow |
//! | [`legacy`] | data of 0.x, recorded and made by hand |
//! | [`styx0`] | a minimal client of styx/0 |

pub mod api;
pub mod authority;
pub mod binary;
pub mod checker;
pub mod cli;
pub mod clock;
pub mod damage;
pub mod faults;
pub mod hex;
pub mod http;
pub mod http2;
pub mod idle;
pub mod legacy;
pub mod load;
pub mod network;
pub mod object_store;
pub mod power;
pub mod prometheus;
pub mod proxy;
pub mod random;
pub mod reverse_proxy;
pub mod scratch;
pub mod server;
pub mod service_manager;
pub mod store_proxy;
pub mod strace;
pub mod styx0;
pub mod styx1;
pub mod table;
pub mod terminal;
pub mod tls;
pub mod tls_bridge;
pub mod tokens;
pub mod transport;
pub mod wait;
pub mod websocket;

pub use authority::{Authority, Signed};
pub use http::{Connection, Request, Response};
pub use scratch::Scratch;
pub use server::{Settings, TestServer};
pub use table::{Table, error, gives};
pub use websocket::WebSocket;
