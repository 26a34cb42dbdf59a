//! Fault tests: kills, power cuts, unreliable networks, failing or full disks and
//! damaged files, under load. Every promise in docs/reliability.md has to hold.
//!
//! | module | the fault |
//! |---|---|
//! | [`kill`], [`styx0_kill`], [`styx1_kill`] | SIGKILL at random moments |
//! | [`cursors`] | SIGKILL while cursors are set |
//! | [`power`] | power cuts of real filesystems |
//! | [`chaos`] | a network that cuts, delays and reorders, under the client core |
//! | [`damage`] | flipped bits and lost files |
//! | [`scrub`] | damage that the running server has to find by itself |
//! | [`disk`], [`styx0_disk`], [`styx1_disk`] | syncs that fail or are slow, full disks |
//! | [`websocket`] | all of these under WebSockets |
//!
//! `cargo xtask faults --cycles N` runs `kill` and `power` for longer.

mod chaos;
mod cursors;
mod damage;
mod disk;
mod kill;
mod power;
mod scrub;
mod styx0_disk;
mod styx0_kill;
mod styx1_disk;
mod styx1_kill;
mod websocket;
