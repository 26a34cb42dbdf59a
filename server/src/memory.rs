//! How much memory the process may use: that of the machine, or less in a cgroup.
//!
//! Sources: `MemTotal` in `/proc/meminfo` (proc_meminfo(5)), and `memory.max` of version 2 or
//! `memory.limit_in_bytes` of version 1 in the cgroup of the process and in those around it
//! (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

/// The default is one twentieth of the memory, in these bounds.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = 32 << 20..=1 << 30;

/// The default of `max_cache_bytes`: 5 % of the memory, at least 32 MiB and at most 1 GiB.
pub(crate) fn default_cache_bytes() -> usize {
    default_of(limit())
}

fn default_of(memory: Option<u64>) -> usize {
    let share = memory.map_or(0, |bytes| bytes / 20);
    usize::try_from(share.clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end())).unwrap_or(usize::MAX)
}

/// The memory that the process may use in bytes; `None` if the system does not tell.
fn limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = folders(&cgroups).into_iter().filter_map(|folder| lowest(&folder));
    machine.into_iter().chain(limits).min()
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The folders of the cgroups that may limit the memory.
fn folders(cgroups: &str) -> Vec<PathBuf> {
    let folder = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            all if all.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            _ => return None,
        };
        Some(Path::new(root).join(path.trim_start_matches('/')))
    };
    cgroups.lines().filter_map(folder).collect()
}

/// The lowest limit of a cgroup and those around it.
fn lowest(folder: &Path) -> Option<u64> {
    let limit = |folder: &Path, name| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        // `max` and numbers above the machine's memory mean that there is no limit.
        text.trim().parse::<u64>().ok()
    };
    let limits = folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let names = ["memory.max", "memory.limit_in_bytes"];
    limits.flat_map(|folder| names.map(|name| limit(folder, name))).flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_both_versions_are_found() {
        let text = "12:cpu,cpuacct:/\n4:memory:/docker/1a\n1:name=systemd:/x\n0::/user.slice/a:b\n";
        let found = ["/sys/fs/cgroup/memory/docker/1a", "/sys/fs/cgroup/user.slice/a:b"];
        assert_eq!(folders(text), found.map(PathBuf::from));
        assert!(folders("nonsense\n1\n").is_empty());
    }

    #[test]
    fn default_is_a_share_of_the_memory_in_bounds() {
        assert_eq!(default_of(None), 32 << 20);
        assert_eq!(default_of(Some(64 << 20)), 32 << 20);
        assert_eq!(default_of(Some(10_000 << 20)), 500 << 20);
        assert_eq!(default_of(Some(1 << 40)), 1 << 30);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_of_this_machine_is_known() {
        assert_eq!(total_bytes("MemTotal:       24 kB\nMemFree: 1 kB\n"), Some(24 * 1024));
        assert!(limit().is_some_and(|bytes| bytes > 1 << 20));
    }
}
