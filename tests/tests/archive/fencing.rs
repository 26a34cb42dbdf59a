//! Two servers on one archive, as after a clone of a machine: the newer one archives, the older one
//! stops to archive and says so. Both serve.

use std::process::Command;
use std::sync::Arc;

use styx_tests::{Scratch, wait};

use crate::support::{Archive, PATIENCE, append, await_archived, fill};

#[test]
fn of_two_servers_on_one_archive_the_older_is_fenced_and_nothing_is_lost() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 300);
    await_archived(&server, "a");

    // A copy of the machine, which starts after the original.
    server.kill();
    let scratch = Arc::new(Scratch::new("server"));
    let copied = Command::new("cp").arg("-r").arg(server.data()).arg(scratch.join("data")).status();
    assert!(copied.expect("cp is installed").success());
    server.restart();
    let mut original = [records.clone(), append(&server, "a", 300, 100)].concat();
    await_archived(&server, "a");

    let copy = archive.settings("").start_in(scratch).expect("it starts");
    let cloned = [records, append(&copy, "a", 900, 200)].concat();
    original.extend(append(&server, "a", 400, 50));
    wait::until_true("one of the two is fenced", PATIENCE, || {
        let servers = [&server, &copy];
        servers.map(|server| server.count("styx_archive_fenced_logs")).iter().sum::<u64>() == 1
    });
    // Both serve, and both are written.
    assert!(server.read_all("a") == original);
    assert!(copy.read_all("a") == cloned);
    server.append("a", "after the fence");
    copy.append("a", "after the fence");
    archive.verify();
}
