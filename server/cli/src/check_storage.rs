//! `styx serve --check-storage`: measures the storage of the data directory, and reports
//! whether it can keep what an ack promises. It removes every file that it creates.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use styx_engine::storage::probe::{self, Effort, StorageReport, Syncs, Weakness};

use crate::failure::Failure;
use crate::output;

/// Prints the report. Fails if the storage is weak or cannot be measured.
pub(crate) fn run(data_directory: &Path) -> Result<(), Failure> {
    let directory = existing(data_directory)
        .map_err(|error| Failure::Failed(format!("{}: {error}", data_directory.display())))?;
    let failed = |error| Failure::Failed(format!("{}: {error}", directory.display()));
    let report = probe::inspect(&directory, Effort::Thorough).map_err(failed)?;
    let bandwidth = probe::bandwidth(&directory);
    output::print(&text(data_directory, &directory, &report, &bandwidth))?;
    match (report.weaknesses.len(), report.syncs) {
        (0, Ok(_)) => Ok(()),
        (0, Err(error)) => Err(failed(error)),
        (_, _) => Err(Failure::Failed(
            "the storage is weak: it cannot keep what an acknowledgement promises".to_owned(),
        )),
    }
}

/// The directory, or its nearest parent that exists.
fn existing(directory: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(directory)?;
    let found = absolute.ancestors().find(|path| path.is_dir());
    Ok(found.unwrap_or(&absolute).to_owned())
}

fn text(
    data_directory: &Path,
    measured: &Path,
    report: &StorageReport,
    bandwidth: &io::Result<f64>,
) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<18}{value}");
    };
    line("data directory", &data_directory.display().to_string());
    if !data_directory.is_dir() {
        line("", &format!("does not exist yet; measured in {}", measured.display()));
    }
    match &report.mount {
        Some(mount) => {
            let filesystem = &report.filesystem;
            line("file system", &format!("{filesystem} ({}) at {}", mount.source, mount.point));
            line("mount options", &mount.options.join(","));
        }
        None => line("file system", "unknown: the system does not report it"),
    }
    match &report.syncs {
        Ok(syncs) => line("write and sync", &sync_times(syncs)),
        Err(error) => line("write and sync", &format!("failed: {error}")),
    }
    match bandwidth {
        Ok(rate) => line("sequential write", &format!("{:.0} MB/s", rate / 1e6)),
        Err(error) => line("sequential write", &format!("failed: {error}")),
    }
    line("verdict", &verdict(&report.weaknesses, report.syncs.is_ok()));
    out
}

fn sync_times(syncs: &Syncs) -> String {
    let (median, p99) = (micros(syncs.median()), micros(syncs.p99()));
    format!("median {median}, p99 {p99} (4 KiB appended and synced, {} times)", syncs.count())
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn verdict(weaknesses: &[Weakness], was_measured: bool) -> String {
    if !weaknesses.is_empty() {
        let texts: Vec<String> = weaknesses.iter().map(|w| format!("weak: {w}")).collect();
        return texts.join(&format!("\n{:18}", ""));
    }
    if was_measured {
        // A disk may acknowledge what it does not keep, and no program can see that.
        "fine: no weakness was found (whether the disk keeps what it acknowledges depends on \
         its hardware)"
            .to_owned()
    } else {
        "unknown: the directory cannot be written to".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_lists_every_weakness() {
        let memory = Weakness::Memory { filesystem: "tmpfs".into() };
        let option = Weakness::MountOption { option: "nobarrier".into() };
        let said = verdict(&[memory, option], true);
        assert!(said.starts_with("weak: ") && said.contains("tmpfs"), "{said}");
        assert!(said.lines().count() == 2 && said.contains("`nobarrier`"), "{said}");
        assert!(verdict(&[], true).starts_with("fine: "));
        assert!(verdict(&[], false).starts_with("unknown: "));
    }

    #[test]
    fn missing_directory_is_measured_in_its_nearest_parent() {
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(existing(Path::new("no/such/directory")).expect("absolute"), here);
        assert_eq!(existing(Path::new(".")).expect("absolute"), here);
    }
}
