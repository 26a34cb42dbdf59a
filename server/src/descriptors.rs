//! File descriptors: each connection needs one, and a process has 1,024 by default
//! unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything except connections: segments, indexes, the runtime.
const OTHERS: u64 = 1024;

/// Asks for as many as the system allows, and warns if that is too few for
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
            "the system allows fewer open files than max_connections needs; raise the limit \
             (LimitNOFILE= in systemd, ulimit -n) or lower max_connections"
        );
    }
}
