//! Wheels for aarch64, built on x86_64 and tested under qemu.

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "aarch64-unknown-linux-gnu", prepare: || None, works: |_, _, _| false };
