//! Checks of paths: whether the server can never use one on this machine.
//!
//! Nothing is created. A path that this process may not look at passes, because another
//! user may check the configuration than the one that runs the server.

use std::io::ErrorKind;
use std::path::Path;

/// Checks a directory that is created with its parents if it does not exist.
///
/// # Errors
/// What prevents that, and what to use.
pub(super) fn check_directory(path: &Path) -> Result<(), String> {
    let cause = match path.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => format!("{} is not a directory", path.display()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.symlink_metadata().is_ok() {
                format!("{} is a link whose target does not exist", path.display())
            } else {
                return parent(path).map_or(Ok(()), check_directory);
            }
        }
        Err(error) => error.to_string(),
    };
    Err(format!("{cause}; use the path of a directory, or of one that can be created"))
}

/// Checks a file that is created if it does not exist, but not its directory.
///
/// # Errors
/// What prevents that, and what to use.
pub(super) fn check_file(path: &Path) -> Result<(), String> {
    let cause = match path.metadata() {
        Ok(found) if found.is_dir() => "it is a directory".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => match parent(path) {
            Some(parent) if is_missing(parent) => {
                format!("the directory {} does not exist", parent.display())
            }
            _ => return Ok(()),
        },
        Err(error) => error.to_string(),
    };
    Err(format!("{cause}; use the path of a file in a directory that exists"))
}

/// The directory that contains the path; `None` for the current directory.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

fn is_missing(directory: &Path) -> bool {
    directory.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_can_never_work_are_refused() {
        let directory = std::env::temp_dir();
        let file = directory.join(format!("styx-path-{}", std::process::id()));
        let link = file.with_extension("link");
        std::fs::write(&file, "x").expect("a temporary file");
        std::os::unix::fs::symlink("nothing", &link).expect("a link");
        let below = file.join("below");

        check_directory(&directory.join("styx-none/a/b")).expect("it can be created");
        check_directory(Path::new("styx-none")).expect("it can be created");
        for path in [file.as_path(), &below, &link, Path::new("a\0b")] {
            assert!(check_directory(path).is_err(), "{}", path.display());
        }
        check_file(&file).expect("it is a file");
        check_file(&directory.join("styx-none")).expect("it can be created");
        check_file(Path::new("styx-none")).expect("it can be created");
        let missing = directory.join("styx-none/x");
        for path in [directory.as_path(), &missing, &below, Path::new("a\0b")] {
            assert!(check_file(path).is_err(), "{}", path.display());
        }
        std::fs::remove_file(&file).expect("remove");
        std::fs::remove_file(&link).expect("remove");
    }
}
