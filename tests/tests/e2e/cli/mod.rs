//! The `styx` command: what it prints, its exit codes, and `styx serve`.

mod check_storage;
mod commands;
mod compatibility;
mod cursors;
mod import_0x;
mod over_http;
mod own_server;
mod read;
mod serve;
mod top;
mod verify;
