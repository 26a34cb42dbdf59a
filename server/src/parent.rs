//! [`ParentProcess`]: notices that the process that started the server has ended.
//!
//! Linux reports the end of a process through a descriptor of it. Other systems, and kernels or
//! sandboxes without such descriptors, are asked once a second for the parent's id, which changes
//! when the parent ends. Neither depends on the thread that started the server, which may end much
//! earlier. Invariant: the end of a parent is noticed at whatever moment it happens, because its id
//! is compared after the watch has begun.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::Error;

/// How often the parent's id is read where there is no descriptor.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The watched parent process. A thread waits for its end.
#[derive(Debug)]
pub(crate) struct ParentProcess {
    ended: oneshot::Receiver<()>,
}

impl ParentProcess {
    /// Watches the parent, which must have this id.
    pub(crate) fn watch(id: u32) -> Result<ParentProcess, Error> {
        let failed = |source| Error::System { doing: "cannot watch the parent process", source };
        let descriptor = Descriptor::open(id);
        // The parent may have ended before the watch began, and its id may even be used again.
        if current() != Some(id) {
            let message = format!("process {id} has ended, or is not the parent of this server");
            return Err(failed(io::Error::other(message)));
        }
        let (sender, ended) = oneshot::channel();
        let watch = move || {
            descriptor.wait();
            while current() == Some(id) {
                std::thread::sleep(POLL_INTERVAL);
            }
            let _ = sender.send(());
        };
        let thread = std::thread::Builder::new().name("styx-parent".into()).stack_size(64 << 10);
        thread.spawn(watch).map_err(failed)?;
        Ok(ParentProcess { ended })
    }

    /// Resolves when the parent has ended.
    pub(crate) async fn ended(self) {
        // The thread sends before it ends.
        let _ = self.ended.await;
    }
}

/// The id of the current parent; `None` if it is in another process namespace.
fn current() -> Option<u32> {
    rustix::process::getppid().and_then(|id| u32::try_from(id.as_raw_nonzero().get()).ok())
}

/// A descriptor that becomes readable when the process ends, if the system has such descriptors.
struct Descriptor {
    #[cfg(target_os = "linux")]
    of_process: Option<std::os::fd::OwnedFd>,
}

impl Descriptor {
    #[cfg(target_os = "linux")]
    fn open(id: u32) -> Descriptor {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        Descriptor { of_process: id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) }
    }

    #[cfg(not(target_os = "linux"))]
    fn open(_: u32) -> Descriptor {
        Descriptor {}
    }

    /// Waits for the end of the process. Returns at once without a descriptor.
    fn wait(&self) {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.of_process {
            use rustix::event::{PollFd, PollFlags, poll};
            let wait = || poll(&mut [PollFd::new(process, PollFlags::IN)], None);
            while wait() == Err(rustix::io::Errno::INTR) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_parent_can_be_watched() {
        let parent = current().expect("a parent");
        let watched = ParentProcess::watch(parent).expect("it runs");
        let ended = tokio::time::timeout(Duration::from_millis(10), watched.ended()).await;
        assert!(ended.is_err(), "it has not ended");
        let refused = ParentProcess::watch(std::process::id()).expect_err("not the parent");
        assert!(refused.to_string().contains("has ended, or is not the parent"), "{refused}");
    }
}
