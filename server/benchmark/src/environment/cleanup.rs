//! [`Cleanup`]: what to undo when the process gets Ctrl-C (SIGINT) or SIGTERM.
//!
//! ```text
//! add(action) ─▶ list ◀─ signal ─▶ newest first: kill, delete, remove ─▶ exit 130
//!     drop(guard) removes the action from the list; its owner has done it
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use styx_client::blocking::{Client, wait_for};
use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// The exit code after a signal.
const INTERRUPTED: i32 = 130;
/// How long to wait for a running server to delete a log before the process exits.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// One thing to undo.
#[derive(Debug, Clone)]
pub(crate) enum CleanupAction {
    /// Kill a child process.
    Kill(Pid),
    /// Remove a directory.
    Remove(PathBuf),
    /// Delete a log of a server that this process did not start.
    Delete(Client, String),
}

/// The list of things to undo. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cleanup(Arc<Mutex<CleanupList>>);

#[derive(Debug, Default)]
struct CleanupList {
    next: u64,
    entries: Vec<(u64, CleanupAction)>,
}

/// Keeps an action on the list until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the guard removes its action from the list"]
pub(crate) struct CleanupGuard {
    cleanup: Cleanup,
    number: u64,
}

impl Cleanup {
    /// Starts a thread that waits for SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub(crate) fn watch() -> Result<Cleanup, Error> {
        let cleanup = Cleanup::default();
        let on_signal = cleanup.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(cannot_watch)?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let watched = |kind| signal(kind).map_err(cannot_watch);
            (watched(SignalKind::interrupt())?, watched(SignalKind::terminate())?)
        };
        let watch = async move {
            let first = std::future::poll_fn(|context| {
                let ready = interrupt.poll_recv(context).is_ready();
                if ready || terminate.poll_recv(context).is_ready() {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            });
            first.await;
        };
        std::thread::spawn(move || {
            runtime.block_on(watch);
            on_signal.undo();
            std::process::exit(INTERRUPTED);
        });
        Ok(cleanup)
    }

    /// Adds an action to the list.
    pub(crate) fn add(&self, action: CleanupAction) -> CleanupGuard {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = list.next;
        list.next += 1;
        list.entries.push((number, action));
        CleanupGuard { cleanup: self.clone(), number }
    }

    /// Runs all actions, the newest first.
    fn undo(&self) {
        // The lock is held until the process exits, so that no new action is added.
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, action)) = list.entries.pop() {
            match action {
                CleanupAction::Kill(child) => drop(kill_process(child, Signal::KILL)),
                CleanupAction::Remove(path) => drop(std::fs::remove_dir_all(path)),
                CleanupAction::Delete(client, log) => {
                    let delete = std::pin::pin!(client.as_async().delete_log(&log));
                    drop(wait_for(delete, DELETE_TIMEOUT));
                }
            }
        }
    }
}

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        let mut list = self.cleanup.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.entries.retain(|(number, _)| *number != self.number);
    }
}

fn cannot_watch(error: std::io::Error) -> Error {
    Error::Failed(format!("cannot watch for Ctrl-C: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_runs_only_actions_whose_guard_is_alive() {
        let parent = std::env::temp_dir().join(format!("styx-cleanup-{}", std::process::id()));
        let (done, left) = (parent.join("done"), parent.join("left"));
        std::fs::create_dir_all(&done).expect("a directory");
        std::fs::create_dir_all(&left).expect("a directory");
        let cleanup = Cleanup::default();
        let of_left = cleanup.add(CleanupAction::Remove(left.clone()));
        drop(cleanup.add(CleanupAction::Remove(done.clone())));
        cleanup.undo();
        assert!(done.exists() && !left.exists());
        drop(of_left);
        std::fs::remove_dir_all(parent).expect("it can be removed");
    }
}
