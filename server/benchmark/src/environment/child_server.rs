//! [`ChildServer`]: the running binary, started again as a server. It has a free port
//! and its own data directory. It ends when it is dropped, and when this process ends,
//! including by kill -9.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use styx_client::LogStatus;
use styx_client::blocking::Client;

use super::cleanup::CleanupGuard;
use super::{Cleanup, CleanupAction, page_cache};
use crate::Error;

/// How long the server may take to open its logs.
const OPEN_TIMEOUT: Duration = Duration::from_secs(300);
/// The time between two checks whether all logs are open.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Whether a server has TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encrypted {
    No,
    Yes,
}

/// A child process that is killed, not shut down, when it is dropped.
#[derive(Debug)]
pub(crate) struct ChildServer {
    child: Child,
    data: PathBuf,
    address: String,
    /// The certificate that clients trust, if the server has TLS.
    ca_file: Option<PathBuf>,
    /// Kept open because the server may still write to it.
    _stdout: BufReader<std::process::ChildStdout>,
    _guard: CleanupGuard,
}

impl ChildServer {
    /// Starts a server with its data in `data`, and returns when it listens. Its logs
    /// may still be opening. The server also ends when this process does.
    ///
    /// # Errors
    /// The server did not start. The error contains its output.
    pub(crate) fn start(
        data: &Path,
        encrypted: Encrypted,
        cleanup: &Cleanup,
    ) -> Result<ChildServer, Error> {
        let failed = |error: std::io::Error| {
            Error::Failed(format!("cannot start a server for the benchmark: {error}"))
        };
        let output = output_path(data);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["serve", "--bind-address", "127.0.0.1:0", "--log-level", "warn"]);
        command.arg("--data-directory").arg(data);
        command.arg(format!("--exit-with-parent={}", std::process::id()));
        let ca_file = match encrypted {
            Encrypted::No => None,
            Encrypted::Yes => {
                command.args(["--generate-self-signed", "localhost"]);
                Some(data.join("tls-certificate.pem"))
            }
        };
        // The caller's environment must not configure the server that is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STYX_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&output).map_err(failed)?);
        // Ctrl-C must reach this process only, which then stops the server.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let guard = cleanup.add(CleanupAction::Kill(Pid::from_child(&child)));
        let mut line = String::new();
        let stdout = child.stdout.take().map(BufReader::new);
        let stdout = stdout.and_then(|mut stdout| stdout.read_line(&mut line).ok().map(|_| stdout));
        match (stdout, line.trim().strip_prefix("listening on ")) {
            (Some(stdout), Some(address)) => {
                let address = address.to_owned();
                let data = data.to_owned();
                Ok(ChildServer { child, data, address, ca_file, _stdout: stdout, _guard: guard })
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let output = std::fs::read_to_string(&output).unwrap_or_default();
                Err(Error::Failed(format!(
                    "the server for the benchmark did not start; its output:\n{}",
                    output.trim_end()
                )))
            }
        }
    }

    /// The address that the server listens on, in the form that a client accepts.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The certificate that clients trust; `None` without TLS.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Errors
    /// `/proc` cannot be read, or the process has ended.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Error> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::Failed(format!("{path}: {error}")))?;
        resident(&text).ok_or_else(|| Error::Failed(format!("{path} has no line VmRSS")))
    }

    /// Drops the cached pages of all files of the server, so that it reads from the disk.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub(crate) fn drop_page_cache(&self) -> Result<(), Error> {
        page_cache::drop_pages(&self.data).map(drop).map_err(|error| self.in_data(&error))
    }

    /// Reads all files of the server into the page cache.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn fill_page_cache(&self) -> Result<(), Error> {
        page_cache::fill(&self.data).map(drop).map_err(|error| self.in_data(&error))
    }

    fn in_data(&self, error: &std::io::Error) -> Error {
        Error::Failed(format!("{}: {error}", self.data.display()))
    }

    /// Waits until every log is open.
    ///
    /// # Errors
    /// A log is damaged, or not open after 5 minutes.
    pub(crate) fn wait_until_open(&self, client: &Client) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let logs = client.list_logs()?;
            match logs.iter().find(|log| log.status != LogStatus::Ok) {
                None => return Ok(()),
                Some(log) if log.status != LogStatus::Scanning => {
                    let text = format!("log {} is {} after a kill -9", log.name, log.status);
                    return Err(Error::Failed(text));
                }
                Some(log) if begun.elapsed() > OPEN_TIMEOUT => {
                    let text = format!("log {} is not open after {OPEN_TIMEOUT:?}", log.name);
                    return Err(Error::Failed(text));
                }
                Some(_) => std::thread::sleep(POLL_INTERVAL),
            }
        }
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file for the server's standard error, beside its data directory.
fn output_path(data: &Path) -> PathBuf {
    data.with_extension("output")
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
    fn resident_memory_is_parsed_from_proc_status() {
        let status = "VmPeak:\t   99 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(resident(status), Some(1234 * 1024));
        assert_eq!(resident("VmPeak:\t 99 kB\n"), None);
    }
}
