//! File descriptors: how many the process may have, and who gets them.
//!
//! ```text
//! limit of open files = reserve + open files of the engine + connections
//! ```
//!
//! Invariant: connections and the engine's cache of open files never use the reserve.
//! It is for the listener, the runtime, requests for health and metrics, and files that
//! are open only for a moment.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most descriptors of the reserve.
const RESERVE_MAX: usize = 256;
/// Open files that the engine gets if there are enough descriptors.
const OPEN_FILES_WANTED: usize = 1536;

/// How the descriptors of the process are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections that are served.
    pub(crate) connections: usize,
    /// Connections beyond those, which are only asked for their first request. They use
    /// the reserve.
    pub(crate) connections_beyond: usize,
    /// Files of logs that the engine keeps open.
    pub(crate) open_files: usize,
}

impl Shares {
    /// Shares `allowed` descriptors (`None`: without a limit).
    ///
    /// A quarter, and at most 256, is the reserve; connections beyond the limit get half
    /// of it. If the rest is too small for `max_connections` and 1,536 open files, the
    /// engine gets what connections leave, but at least half of the rest.
    pub(crate) fn of(allowed: Option<u64>, max_connections: usize) -> Shares {
        let allowed = allowed.and_then(|allowed| allowed.try_into().ok()).unwrap_or(usize::MAX);
        let reserve = (allowed / 4).min(RESERVE_MAX);
        let rest = allowed - reserve;
        let left_by_connections = rest.saturating_sub(max_connections);
        let open_files = left_by_connections.max(rest / 2).min(OPEN_FILES_WANTED);
        Shares {
            connections: max_connections.min(rest - open_files),
            connections_beyond: reserve / 2,
            open_files,
        }
    }

    /// The shares of this process.
    pub(crate) fn of_this_process(max_connections: usize) -> Shares {
        Shares::of(getrlimit(Resource::Nofile).current, max_connections)
    }

    /// The shares of connections to the admin address, which use the reserve alone.
    pub(crate) fn of_admin(self) -> Shares {
        Shares {
            connections: (self.connections_beyond / 4).max(1),
            connections_beyond: (self.connections_beyond / 16).max(1),
            open_files: 0,
        }
    }

    /// Warns if the shares are smaller than `max_connections` and the server's `logs`
    /// need.
    pub(crate) fn warn_if_small(self, max_connections: usize, logs: usize) {
        let allowed = getrlimit(Resource::Nofile).current;
        let Shares { connections, open_files, .. } = self;
        if connections < max_connections {
            tracing::warn!(
                allowed,
                connections,
                max_connections,
                "the system allows too few open files for max_connections, so the server \
                 accepts fewer connections; raise the limit (LimitNOFILE= in systemd, ulimit \
                 -n) or lower max_connections"
            );
        }
        if open_files < OPEN_FILES_WANTED && open_files < logs {
            tracing::warn!(
                allowed,
                open_files,
                logs,
                "the system allows fewer open files than there are logs, so files of idle logs \
                 are closed and opened again, which is slower; raise the limit (LimitNOFILE= in \
                 systemd, ulimit -n) or lower max_connections"
            );
        }
    }
}

/// Raises the limit of open files to the largest that the system allows.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_between_connections_and_open_files() {
        for (allowed, max_connections, expected) in [
            // Enough for everything.
            (None, 15_000, (15_000, 128, 1536)),
            (Some(1 << 20), 15_000, (15_000, 128, 1536)),
            (Some(16_792), 15_000, (15_000, 128, 1536)),
            // Too few for all connections.
            (Some(16_791), 15_000, (14_999, 128, 1536)),
            (Some(1024), 15_000, (384, 128, 384)),
            (Some(256), 15_000, (96, 32, 96)),
            // Few connections leave more for files.
            (Some(1024), 100, (100, 128, 668)),
            (Some(256), 20, (20, 32, 172)),
            (Some(150), 10, (10, 18, 103)),
            // Nothing is negative.
            (Some(1), 10, (1, 0, 0)),
            (Some(0), 10, (0, 0, 0)),
        ] {
            let Shares { connections, connections_beyond, open_files } =
                Shares::of(allowed, max_connections);
            let shares = (connections, connections_beyond, open_files);
            assert_eq!(shares, expected, "{allowed:?} descriptors, {max_connections} connections");
        }
    }

    #[test]
    fn shares_leave_the_reserve() {
        for allowed in 0..20_000_u64 {
            for max_connections in [1, 20, 1000, 15_000, usize::MAX] {
                let shares = Shares::of(Some(allowed), max_connections);
                let used = (shares.connections + shares.open_files) as u64;
                let reserve = (allowed / 4).min(256);
                assert!(used + reserve <= allowed, "{allowed}: {shares:?}");
                assert!(shares.connections_beyond as u64 * 2 <= reserve, "{allowed}: {shares:?}");
            }
        }
    }
}
