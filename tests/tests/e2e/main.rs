//! End-to-end tests: the real binary as a child process, and everything a client,
//! an operator or a reader of the documents does with it.
//!
//! | module | what it tests |
//! |---|---|
//! | [`http`] | the REST API |
//! | [`websocket`] | records as WebSocket messages |
//! | [`styx0`] | the binary protocol of Styx 0.x |
//! | [`styx1`] | the binary protocol of the client core |
//! | [`tls`] | a server that speaks TLS |
//! | [`client`] | the Rust client against a real server |
//! | [`access`] | access control: tokens, grants, and what they end |
//! | [`cli`] | the `styx` command, including `styx serve` |
//! | [`golden`] | the committed files of each format version |
//! | [`limits`] | large input, and slow or stalled peers of HTTP |
//! | [`listeners`] | where the server listens: addresses, Unix sockets, systemd, health |
//! | [`docs`] | the commands, links and test names in the documents |
//! | [`examples`] | the programs in `examples/` |
//! | [`monitoring`] | the alert rules and the dashboard, with a real Prometheus |
//! | [`proxies`] | a server behind nginx and behind Caddy |
//!
//! Tests of crashes and failing disks are in `faults`. Tests that must not share the
//! machine are in `alone`.

mod access;
mod cli;
mod client;
mod docs;
mod examples;
mod golden;
mod http;
mod limits;
mod listeners;
mod monitoring;
mod proxies;
mod styx0;
mod styx1;
mod tls;
mod websocket;
