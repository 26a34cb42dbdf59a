//! File descriptors: each connection takes one, and systems give a process 1,024
//! unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for anything but connections: segments, indexes, the runtime.
const OTHERS: u64 = 1024;

/// Asks for as many as the system allows, and warns when that is too few for
/// `connections`.
pub(crate) fn raise_limit(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = if raised.is_ok() { maximum } else { current };
    let wanted = connections as u64 + OTHERS;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer open files than max_connections needs: raise it \
             (LimitNOFILE= of systemd, ulimit -n), or lower max_connections"
        );
    }
}
