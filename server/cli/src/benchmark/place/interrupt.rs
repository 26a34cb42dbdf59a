//! [`Duties`]: what is to be undone when somebody presses Ctrl-C.
//!
//! ```text
//! enter(Duty) ─▶ list ◀─ signal ─▶ newest first: kill, delete, remove ─▶ exit 130
//!     drop(Entered) takes it off again: whoever entered it has done it
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use styx_client::blocking::{Client, wait_for};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// The exit code of what a Ctrl-C ends.
const INTERRUPTED: i32 = 130;
/// How long deleting a log of another server may hold the end up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something to undo.
#[derive(Debug, Clone)]
pub(in crate::benchmark) enum Duty {
    /// A child process.
    Kill(Pid),
    /// A directory.
    Remove(PathBuf),
    /// A log of a server that is not ours.
    Delete(Client, String),
}

/// What is to be undone by now; clones share the list.
#[derive(Debug, Clone, Default)]
pub(in crate::benchmark) struct Duties(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    entries: Vec<(u64, Duty)>,
}

/// A duty on the list; dropping it takes it off.
#[derive(Debug)]
#[must_use = "a duty is off the list when this is dropped"]
pub(in crate::benchmark) struct Entered {
    duties: Duties,
    number: u64,
}

impl Duties {
    /// Watches for SIGINT and SIGTERM from now on, on a thread of its own.
    ///
    /// # Errors
    /// The system refuses.
    pub(in crate::benchmark) fn watch() -> Result<Duties, Failure> {
        let duties = Duties::default();
        let ours = duties.clone();
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
            ours.undo();
            std::process::exit(INTERRUPTED);
        });
        Ok(duties)
    }

    /// Puts a duty on the list.
    pub(in crate::benchmark) fn enter(&self, duty: Duty) -> Entered {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = list.next;
        list.next += 1;
        list.entries.push((number, duty));
        Entered { duties: self.clone(), number }
    }

    /// Does all of it, the newest first.
    fn undo(&self) {
        // The list stays locked: nobody enters or does anything any more.
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, duty)) = list.entries.pop() {
            match duty {
                Duty::Kill(child) => drop(kill_process(child, Signal::KILL)),
                Duty::Remove(path) => drop(std::fs::remove_dir_all(path)),
                Duty::Delete(client, log) => {
                    let delete = std::pin::pin!(client.as_async().delete_log(&log));
                    drop(wait_for(delete, PATIENCE));
                }
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut list = self.duties.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.entries.retain(|(number, _)| *number != self.number);
    }
}

fn cannot_watch(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot watch for Ctrl-C: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_on_the_list_is_undone() {
        let parent = std::env::temp_dir().join(format!("styx-duties-{}", std::process::id()));
        let (done, left) = (parent.join("done"), parent.join("left"));
        std::fs::create_dir_all(&done).expect("a directory");
        std::fs::create_dir_all(&left).expect("a directory");
        let duties = Duties::default();
        let of_left = duties.enter(Duty::Remove(left.clone()));
        drop(duties.enter(Duty::Remove(done.clone())));
        duties.undo();
        assert!(done.exists() && !left.exists());
        drop(of_left);
        std::fs::remove_dir_all(parent).expect("it can be removed");
    }
}
