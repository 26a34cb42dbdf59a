//! The man pages and completion scripts, which the binary of this machine writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::platform::HERE;
use super::script::{output, succeeds};
use super::{empty, entries, place, work, write};

/// A shell, and the name of its script in the archives.
const SHELLS: [(&str, &str); 3] = [("bash", "styx.bash"), ("zsh", "_styx"), ("fish", "styx.fish")];

/// Writes them.
pub(super) fn write_all() -> Option<()> {
    let folder = empty("manual")?;
    let mut pages = Command::new(HERE.binary()?);
    succeeds("styx man", pages.arg("man").arg(folder.join("man1")))?;
    for (shell, name) in SHELLS {
        let mut completions = Command::new(HERE.binary()?);
        let script = output(completions.args(["completions", shell]))?;
        write(&folder.join("completions").join(name), &script)?;
    }
    let pages = self::pages()?;
    println!("{} man pages", pages.len());
    // Those of the main command, of a group and of a command in a group.
    let expected = ["styx.1", "styx-serve.1", "styx-logs.1", "styx-logs-create.1"];
    let missing = expected.iter().find(|name| !pages.iter().any(|page| page.ends_with(name)));
    if let Some(missing) = missing {
        eprintln!("there is no man page {missing}");
    }
    missing.is_none().then_some(())
}

/// The man pages.
pub(super) fn pages() -> Option<Vec<PathBuf>> {
    entries(&work("manual/man1"))
}

/// The completion script of a shell, by its name in the archives.
pub(super) fn completion(name: &str) -> PathBuf {
    work("manual/completions").join(name)
}

/// Copies everything below a folder.
pub(super) fn place_all(folder: &Path) -> Option<()> {
    for page in pages()? {
        place(&page, &folder.join("man/man1").join(page.file_name()?), 0o644)?;
    }
    SHELLS.into_iter().try_for_each(|(_, name)| {
        place(&completion(name), &folder.join("completions").join(name), 0o644)
    })
}
