//! A server whose system calls fail or are slow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Scratch, Settings, TestServer, binary};

/// A server with an injected fault. It is prepared without the fault and restarted with
/// it, so that the fault affects only appends.
///
/// `when=` counts the calls of each thread.
///
/// # Panics
/// When the server cannot be started or prepared.
#[must_use]
pub fn injected(
    styx: &Path,
    fault: &str,
    settings: Settings,
    prepare: impl FnOnce(&TestServer),
) -> TestServer {
    let scratch = Arc::new(Scratch::new("fault"));
    let first = Settings::default().program(styx);
    let mut server = first.start_in(Arc::clone(&scratch)).expect("it can be started");
    prepare(&server);
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    server.restart_with(settings.script(&injecting(styx, &scratch, fault)));
    server
}

/// The same with the usual binary, and an empty log `a`.
///
/// # Panics
/// As [`injected`].
#[must_use]
pub fn injected_log(fault: &str, settings: Settings) -> TestServer {
    injected(binary::styx(), fault, settings, |server| server.create("a"))
}

/// A script that runs this binary under `strace`, which injects this fault, as in
/// `fdatasync:error=EIO:when=30`.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn injecting(styx: &Path, scratch: &Scratch, fault: &str) -> PathBuf {
    let trace = scratch.join("strace").display().to_string();
    let styx = styx.display();
    let calls = fault.split(':').next().expect("the calls");
    let text = format!(
        "exec strace -D -f --seccomp-bpf -qq -o '{trace}' -e trace={calls} \
         -e 'inject={fault}' '{styx}' \"$@\"\n"
    );
    scratch.write("under-strace", &text)
}
