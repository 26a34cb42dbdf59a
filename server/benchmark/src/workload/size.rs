//! The sizes of large logs: what fits on the disk and in memory, and how reports show
//! it.

use std::path::Path;

/// The share of the free space, or of the memory, that a log may take by default.
const SHARE: u64 = 4;

/// `bytes`, or a quarter of the free space of the file system if that is less.
pub(super) fn on_disk(directory: &Path, bytes: u64) -> u64 {
    match rustix::fs::statvfs(directory) {
        Ok(system) => bytes.min(system.f_bavail.saturating_mul(system.f_frsize) / SHARE),
        // Whether there is space shows when the log is written.
        Err(_) => bytes,
    }
}

/// `bytes`, or a quarter of the memory of the machine if that is less, so that the page
/// cache can hold a log of this size.
pub(super) fn in_memory(bytes: u64) -> u64 {
    match rustix::system::sysinfo() {
        rustix::system::Sysinfo { totalram: 0, .. } => bytes,
        system => bytes.min(system.totalram.saturating_mul(u64::from(system.mem_unit)) / SHARE),
    }
}

/// A number of bytes, for example `2.0 GiB`.
pub(super) fn format(bytes: u64) -> String {
    match bytes {
        0x4000_0000.. => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
        0x10_0000.. => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.0} KiB", bytes as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_takes_at_most_a_quarter_of_the_free_space_or_memory() {
        let directory = std::env::temp_dir();
        assert_eq!(on_disk(&directory, 1), 1);
        let system = rustix::fs::statvfs(&directory).expect("a file system");
        assert!(on_disk(&directory, u64::MAX) <= system.f_blocks * system.f_frsize / SHARE);
        assert!(in_memory(1) == 1 && in_memory(u64::MAX) < u64::MAX);
        assert_eq!(on_disk(Path::new("/no/such/directory"), 7), 7);
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        for (bytes, shown) in
            [(2 << 30, "2.0 GiB"), (256 << 20, "256 MiB"), (1 << 20, "1 MiB"), (512, "0 KiB")]
        {
            assert_eq!(format(bytes), shown);
        }
    }
}
