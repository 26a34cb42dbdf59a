//! [`Mount`]: finds the mount of a path in `/proc/self/mountinfo`.
//!
//! ```text
//! 36 35 98:0 /mnt1 /mnt/my\040data rw,noatime master:1 - ext4 /dev/root rw,nobarrier
//! id    dev  root  point           options    tags …    type source     options
//! ```

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for the mount.
    id: u64,
    /// The device's major and minor number, such as `8:1`.
    device: String,
    /// The type of the file system, such as `ext4`.
    pub filesystem: String,
    /// The mount point.
    pub point: String,
    /// The mounted device or other source, such as `/dev/sda1`.
    pub source: String,
    /// The options: first those of the mount, then those of the file system.
    pub options: Vec<String>,
}

/// Mount options with which a sync does not wait for the medium. They are used by ext3, ext4 and
/// others, by ReiserFS, and by overlays.
const WITHOUT_SYNCS: [&str; 5] =
    ["nobarrier", "barrier=0", "barrier=none", "volatile", "fsync=volatile"];

impl Mount {
    /// Parses a line of mountinfo. Returns `None` if it is malformed.
    pub(super) fn parse(line: &str) -> Option<Mount> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let id = fields.next()?.parse().ok()?;
        let device = fields.nth(1)?.to_owned();
        let point = unescaped(fields.nth(1)?);
        let of_mount = fields.next()?;
        let mut fields = filesystem.split(' ');
        let filesystem = unescaped(fields.next()?);
        let source = unescaped(fields.next()?);
        let of_filesystem = fields.next().unwrap_or_default();
        let all = of_mount.split(',').chain(of_filesystem.split(','));
        let options = all.filter(|option| !option.is_empty()).map(unescaped).collect();
        Some(Mount { id, device, filesystem, point, source, options })
    }

    /// Returns the first option that disables syncs.
    pub(super) fn option_without_syncs(&self) -> Option<&str> {
        let weak = |option: &&String| WITHOUT_SYNCS.contains(&option.as_str());
        self.options.iter().find(weak).map(String::as_str)
    }

    /// Returns the directory to which an overlay writes, as the process that mounted it sees the
    /// path. Returns `None` if this is not an overlay.
    pub(super) fn overlay_upper(&self) -> Option<&str> {
        if self.filesystem != "overlay" {
            return None;
        }
        self.options.iter().find_map(|option| option.strip_prefix("upperdir="))
    }
}

/// Returns the mount of a path, or `None` if it cannot be determined.
pub(super) fn of(path: &Path) -> Option<Mount> {
    let flags = StatxFlags::MNT_ID | StatxFlags::BASIC_STATS;
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), flags).ok()?;
    let mounts = mountinfo()?;
    let mut mounts = mounts.lines().filter_map(Mount::parse);
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return mounts.find(|mount| mount.id == stat.stx_mnt_id);
    }
    // Before Linux 5.8, statx has no mount id: take any mount of the same device.
    let device = format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor);
    mounts.find(|mount| mount.device == device)
}

#[expect(clippy::disallowed_methods, reason = "all file calls are in `storage`")]
fn mountinfo() -> Option<String> {
    let bytes = std::fs::read("/proc/self/mountinfo").ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Decodes a field, in which spaces and similar characters are three octal digits: `\040`.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_with_tags_and_escapes_are_parsed() {
        for tags in ["", "shared:5 ", "shared:5 master:1 propagate_from:2 "] {
            let line = format!(
                r"36 35 98:0 /mnt1 /mnt/my\040data\134x rw,noatime {tags}- ext4 /dev/sda1 rw,nobarrier"
            );
            let mount = Mount::parse(&line).expect("a mount");
            assert_eq!((mount.id, mount.device.as_str()), (36, "98:0"));
            assert_eq!((mount.filesystem.as_str(), mount.source.as_str()), ("ext4", "/dev/sda1"));
            assert_eq!(mount.point, r"/mnt/my data\x");
            assert_eq!(mount.options, ["rw", "noatime", "rw", "nobarrier"]);
            assert_eq!(mount.option_without_syncs(), Some("nobarrier"));
        }
    }

    #[test]
    fn only_whole_option_words_match() {
        let option = |options: &str| {
            let line = format!("1 2 0:3 / / rw - ext4 none {options}");
            Mount::parse(&line).expect("a mount").option_without_syncs().map(str::to_owned)
        };
        for weak in ["nobarrier", "barrier=0", "barrier=none", "volatile"] {
            assert_eq!(option(&format!("rw,{weak},x")).as_deref(), Some(weak));
        }
        for sound in ["rw", "barrier", "barrier=1", "barrier=01", "data=ordered", "nobarriers"] {
            assert_eq!(option(sound), None);
        }
    }

    #[test]
    fn malformed_lines_are_ignored() {
        for text in
            ["", "nonsense", "36 35 98:0 /", "36 35 98:0 / / rw - ext4", "x 1 2:3 / / rw - a b c"]
        {
            assert_eq!(Mount::parse(text), None, "{text:?}");
        }
        assert_eq!(unescaped(r"a\04"), r"a\04");
        assert_eq!(unescaped(r"\999\1"), r"\999\1");
    }

    #[test]
    fn the_mount_of_proc_is_found() {
        let Some(mount) = of(Path::new("/proc")) else {
            eprintln!("skipped: the mount of /proc cannot be determined");
            return;
        };
        assert_eq!((mount.filesystem.as_str(), mount.point.as_str()), ("proc", "/proc"));
    }
}
