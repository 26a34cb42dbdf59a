//! The source distribution of the client, packed and unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::{CLIENT, maturin};
use crate::venv::Environment;
use crate::{run, tools};

/// Packs it.
pub(super) fn packed(environment: &Environment) -> Option<PathBuf> {
    maturin(environment, CLIENT, "python/sdist").call(&["sdist"])
}

/// Unpacks it into a folder of `target/`, which it returns. A file with the same content as
/// before keeps its time, so cargo only compiles what has changed.
pub(super) fn unpacked(archive: &Path) -> Option<PathBuf> {
    let sources = tools::target().join("python/source");
    let new = tools::target().join("python/source.new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).ok()?;
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xzf"]).arg(archive).arg("-C").arg(&new);
    if !run("tar", &mut tar) {
        return None;
    }
    match mirror(&new, &sources) {
        Ok(()) => Some(sources),
        Err(e) => {
            eprintln!("cannot update {}: {e}", sources.display());
            None
        }
    }
}

/// Gives `to` the content of the folder `from`.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let is_in_both = from.join(entry.file_name()).exists();
        match entry.file_type()?.is_dir() {
            _ if is_in_both => {}
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&entry.path(), &target)?;
            continue;
        }
        let content = fs::read(entry.path())?;
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::write(target, content)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_files_keep_their_time() {
        let folder = std::env::temp_dir().join(format!("styx-xtask-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        let write = |path: &str, content: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("created");
            fs::write(path, content).expect("written");
        };
        let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        write("from/same", "1");
        write("from/inner/changed", "2");
        write("from/new", "3");
        write("to/same", "1");
        write("to/inner/changed", "0");
        write("to/removed/file", "4");
        let before = modified(&to.join("same"));
        mirror(&from, &to).expect("mirrored");
        assert_eq!(modified(&to.join("same")), before);
        let read = |path: &str| fs::read_to_string(to.join(path)).unwrap_or_default();
        assert_eq!((read("inner/changed"), read("new")), ("2".to_owned(), "3".to_owned()));
        assert!(!to.join("removed").exists());
        fs::remove_dir_all(folder).expect("removed");
    }
}
