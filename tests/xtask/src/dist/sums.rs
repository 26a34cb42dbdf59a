//! `SHA256SUMS`: the checksum of every file in `target/dist`.

use std::process::Command;

use super::script::succeeds;
use super::{entries, folder};

const NAME: &str = "SHA256SUMS";

/// Writes the file, and checks it as a user does.
pub(super) fn write() -> Option<()> {
    let folder = folder();
    let mut sums = Command::new("sh");
    sums.args(["-c", "sha256sum \"$@\" > SHA256SUMS", "sh"]).current_dir(&folder);
    for path in entries(&folder)? {
        let name = path.file_name()?;
        if path.is_file() && name != NAME {
            sums.arg(name);
        }
    }
    succeeds("sha256sum", &mut sums)?;
    let mut check = Command::new("sha256sum");
    succeeds("sha256sum", check.args(["--check", "--strict", NAME]).current_dir(&folder))
}
