//! Container images, built and run by podman, which needs neither a daemon nor a network.

use std::fs;

use super::platform::PLATFORMS;
use super::script::{script, succeeds};
use super::{empty, folder, place, report, source, tarballs, write};
use crate::tools;

/// Builds an image for each platform, and runs containers of the one for this machine.
pub(super) fn build() -> Option<()> {
    let version = tools::version()?;
    let context = empty("image")?;
    for platform in &PLATFORMS {
        place(&platform.binary()?, &context.join(platform.debian).join("styx"), 0o755)?;
    }
    let data = context.join("data/var/lib/styx");
    report(fs::create_dir_all(&data), "create", &data)?;
    let mut image = script("image.sh");
    image.arg(source("")).arg(&context).arg(&version).arg(folder());
    image.arg(tarballs::commit_time()?.to_string());
    succeeds("image.sh", &mut image)?;
    let compose = fs::read_to_string(source("docker/compose.yaml")).ok()?;
    write(&folder().join("compose.yaml"), &compose.replace("@VERSION@", &version))
}
