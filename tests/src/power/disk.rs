//! [`LoopDisk`]: a filesystem in an image file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::{Scratch, wait};

/// Which filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// ext4, as mkfs makes it.
    Ext4,
    /// XFS, as mkfs makes it.
    Xfs,
}

impl Filesystem {
    fn mkfs(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "mkfs.ext4",
            Filesystem::Xfs => "mkfs.xfs",
        }
    }
}

/// More than the smallest XFS that today's mkfs makes; the image is sparse.
const IMAGE_BYTES: u64 = 320 << 20;

/// A mounted image. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    mount_point: PathBuf,
    // Declared last, so that the directory is deleted after its mount.
    _scratch: Arc<Scratch>,
}

impl LoopDisk {
    /// Makes a filesystem in `scratch` and mounts it where a server in `scratch`
    /// has its data.
    ///
    /// # Errors
    /// The reason why this machine cannot.
    pub fn make(filesystem: Filesystem, scratch: &Arc<Scratch>) -> Result<LoopDisk, String> {
        LoopDisk::make_of(filesystem, IMAGE_BYTES, scratch)
    }

    /// As [`make`](Self::make), with this total size, which includes the filesystem's own
    /// structures.
    ///
    /// # Errors
    /// As there.
    pub fn make_of(
        filesystem: Filesystem,
        bytes: u64,
        scratch: &Arc<Scratch>,
    ) -> Result<LoopDisk, String> {
        unmount_leftovers();
        let (image, mount_point) = (scratch.join("image"), scratch.join("data"));
        let made = std::fs::create_dir(&mount_point)
            .and_then(|()| std::fs::File::create(&image)?.set_len(bytes));
        made.map_err(|e| format!("cannot create an image: {e}"))?;
        run(Command::new(filesystem.mkfs()).arg("-q").arg(&image))?;
        mount(&image, &mount_point)?;
        Ok(LoopDisk { image, mount_point, _scratch: Arc::clone(scratch) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Unmounts it and mounts it again, which recovers it after a cut.
    ///
    /// # Panics
    /// When that fails for ten seconds.
    pub fn remount(&mut self) {
        // A killed process may keep it busy a little longer.
        wait::until_true("the disk to be unmounted", Duration::from_secs(10), || {
            run(Command::new("umount").arg(&self.mount_point)).is_ok()
        });
        mount(&self.image, &self.mount_point).expect("it could be mounted before");
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount_point));
    }
}

/// Unmounts the images of killed tests.
fn unmount_leftovers() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new) {
        let Some(scratch) = path.parent().filter(|scratch| Scratch::is_left_behind(scratch)) else {
            continue;
        };
        if run(Command::new("umount").arg("--lazy").arg(path)).is_ok() {
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

fn mount(image: &Path, mount_point: &Path) -> Result<(), String> {
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(mount_point))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}", text.trim().replace('\n', "; ")))
        }
        Err(e) => Err(format!("{program} cannot be run: {e}")),
    }
}
