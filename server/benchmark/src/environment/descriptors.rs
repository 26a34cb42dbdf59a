//! The limit of open files and sockets of this process, which its children inherit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit.
pub(crate) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A failure needs no handling here: callers that need many descriptors ask `limit`.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The current limit.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
