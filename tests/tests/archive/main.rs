//! The archive of a real server in a real object store (versitygw), with a proxy that breaks
//! exchanges between them.
//!
//! | module | subject |
//! |---|---|
//! | [`support`] | servers with an archive, and logs whose history is only there |
//! | [`reads`] | records that are only in the archive, over every protocol |
//! | [`store`] | a store that is away, slow, wrong, or refuses |
//! | [`fencing`] | two servers on one archive |
//! | [`lineage`] | clients of logs that were restored |
//! | [`replica`] | read replicas that follow a server under load, and what they refuse |
//! | [`restore`] | `styx restore`, and the commands of `styx archive` |
//! | [`commands`] | commands that bring logs back, take them over, or copy them |
//! | [`disk`] | a full disk |
//! | [`drill`] | the drill in `examples/archive` |
//! | [`memory`] | many readers that do not continue |
//! | [`kill`] | kill -9 while segments are archived, evicted and restored |

mod commands;
mod disk;
mod drill;
mod fencing;
mod kill;
mod lineage;
mod memory;
mod reads;
mod replica;
mod restore;
mod store;
mod support;
