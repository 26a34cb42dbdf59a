//! How many files and sockets this process may open, and its children with it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system allows.
pub(in crate::benchmark) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What is refused shows in the limit, which is asked where it matters.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The limit as it is.
pub(in crate::benchmark) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
