//! [`Alone`]: a server of this binary as a child process, on a free port and a
//! directory of its own. It ends when it is dropped, and when this process does,
//! kill -9 included.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use styx_client::LogStatus;
use styx_client::blocking::Client;

use super::interrupt::Entered;
use super::{Duties, Duty};
use crate::failure::Failure;

/// How long its logs may take to open.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at whether they are.
const PAUSE: Duration = Duration::from_millis(1);

/// A server that ends when it is dropped, as a power cut ends it.
#[derive(Debug)]
pub(in crate::benchmark) struct Alone {
    child: Child,
    address: String,
    /// Kept open: the server may still write to it.
    _stdout: BufReader<std::process::ChildStdout>,
    _duty: Entered,
}

impl Alone {
    /// Starts one whose data is in `data`, and returns once it listens; logs
    /// may still be opening. It ends with the thread that calls this.
    ///
    /// # Errors
    /// It did not start; with what it said.
    pub(in crate::benchmark) fn start(data: &Path, duties: &Duties) -> Result<Alone, Failure> {
        let failed = |error: std::io::Error| {
            Failure::Failed(format!("cannot start a server of our own: {error}"))
        };
        let said = said_in(data);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["serve", "--bind-address", "127.0.0.1:0", "--log-level", "warn"]);
        command.arg("--data-directory").arg(data);
        command.arg("--end-with").arg(std::process::id().to_string());
        // Nothing of the caller's environment configures what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STYX_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&said).map_err(failed)?);
        // A Ctrl-C is for us; we end the server.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let duty = duties.enter(Duty::Kill(Pid::from_child(&child)));
        let mut line = String::new();
        let stdout = child.stdout.take().map(BufReader::new);
        let stdout = stdout.and_then(|mut stdout| stdout.read_line(&mut line).ok().map(|_| stdout));
        match (stdout, line.trim().strip_prefix("listening on ")) {
            (Some(stdout), Some(address)) => {
                Ok(Alone { child, address: address.to_owned(), _stdout: stdout, _duty: duty })
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                Err(Failure::Failed(format!(
                    "a server of our own did not start; it said:\n{}",
                    said.trim_end()
                )))
            }
        }
    }

    /// Where it listens, as a client takes it.
    pub(in crate::benchmark) fn address(&self) -> &str {
        &self.address
    }

    /// Memory of the process that is in RAM, in bytes.
    pub(in crate::benchmark) fn resident_bytes(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
        resident(&text).ok_or_else(|| Failure::Failed(format!("{path}: has no VmRSS")))
    }

    /// Waits until every log is open.
    ///
    /// # Errors
    /// One is damaged, or it takes minutes.
    pub(in crate::benchmark) fn wait_until_open(&self, client: &Client) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let logs = client.list_logs()?;
            match logs.iter().find(|log| log.status != LogStatus::Ok) {
                None => return Ok(()),
                Some(log) if log.status != LogStatus::Scanning => {
                    let text = format!("log {} is {} after a kill -9", log.name, log.status);
                    return Err(Failure::Failed(text));
                }
                Some(log) if begun.elapsed() > PATIENCE => {
                    let text = format!("log {} does not open within {PATIENCE:?}", log.name);
                    return Err(Failure::Failed(text));
                }
                Some(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server writes what it says: beside its data.
fn said_in(data: &Path) -> PathBuf {
    data.with_extension("said")
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status() {
        let status = "VmPeak:\t   99 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(resident(status), Some(1234 * 1024));
        assert_eq!(resident("VmPeak:\t 99 kB\n"), None);
    }
}
