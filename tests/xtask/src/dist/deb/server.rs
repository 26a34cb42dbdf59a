//! The package `styx`: the server and the command line.

use super::Package;
use crate::dist::platform::{PLATFORMS, Platform};
use crate::dist::{CONTRIB, entries, manual, source};
use crate::root;

/// Builds it for each platform.
pub(crate) fn build() -> Option<()> {
    PLATFORMS.iter().try_for_each(|platform| package(platform).map(drop))
}

fn package(platform: &Platform) -> Option<std::path::PathBuf> {
    let package = Package::new("styx", platform)?;
    package.add(&platform.binary()?, "usr/bin/styx", 0o755)?;
    package.add(&source("styx.toml"), "etc/styx/styx.toml", 0o644)?;
    // It may contain a token.
    package.add(&source("backup.conf"), "etc/styx/backup.conf", 0o600)?;
    for script in entries(&source("scripts"))? {
        let name = script.file_name()?.to_str()?;
        package.add(&script, &format!("usr/lib/styx/{name}"), 0o755)?;
    }
    for unit in entries(&source("systemd"))? {
        let name = unit.file_name()?.to_str()?;
        package.add(&unit, &format!("lib/systemd/system/{name}"), 0o644)?;
    }
    for page in manual::pages()? {
        let name = page.file_name()?.to_str()?;
        package.add_compressed(&page, &format!("usr/share/man/man1/{name}"))?;
    }
    let completions = [
        ("styx.bash", "usr/share/bash-completion/completions/styx"),
        ("_styx", "usr/share/zsh/vendor-completions/_styx"),
        ("styx.fish", "usr/share/fish/vendor_completions.d/styx.fish"),
    ];
    for (script, to) in completions {
        package.add(&manual::completion(script), to, 0o644)?;
    }
    for document in entries(&root().join("docs"))? {
        let name = document.file_name()?.to_str()?;
        if name.ends_with(".md") {
            package.add(&document, &format!("usr/share/doc/styx/{name}"), 0o644)?;
        }
    }
    for file in CONTRIB {
        package.add(&root().join(file), &format!("usr/share/doc/styx/{file}"), 0o644)?;
    }
    package.add_compressed(&root().join("CHANGELOG.md"), "usr/share/doc/styx/changelog")?;
    package.add(
        &source("debian/styx.lintian-overrides"),
        "usr/share/lintian/overrides/styx",
        0o644,
    )?;
    package.build()
}
