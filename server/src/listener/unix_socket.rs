//! Binds a Unix socket, and removes its file.
//!
//! ```text
//! nothing there            bind
//! a socket, server alive   refuse
//! a socket, server dead    remove the file, bind
//! anything else            refuse
//! ```
//! Invariant: nobody can connect before the socket has its mode and its owner, and nothing is
//! removed that is not a socket without a server.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, listen, socket_with,
};
use tokio::net::{UnixListener, UnixStream};

use crate::config::{Config, UnixSocketOwner};
use crate::transport::PeerAddress;

/// Connections that may wait to be accepted, as for TCP.
const BACKLOG: i32 = 1024;
/// No user, for a peer that the kernel does not name.
const NOBODY: u32 = u32::MAX;

/// The file of a socket that this process has bound. Dropping it removes the file, unless another
/// server has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Binds a socket at this path, with the configured mode and owner.
///
/// # Errors
/// The path is in use or cannot be used, or the owner is unknown or cannot be set.
pub(super) async fn bind(path: &Path, config: &Config) -> io::Result<(UnixListener, SocketFile)> {
    let (user, group) = ids(&config.unix_socket_owner)?;
    remove_stale(path).await?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets the mode of the descriptor: nobody can connect before the mode is set below.
    fchmod(&socket, Mode::empty())?;
    bind_to(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile::at(path)?;
    if user.is_some() || group.is_some() {
        let owner = &config.unix_socket_owner;
        chown(path, user, group).map_err(|error| {
            let message = format!("cannot give it to {owner} (unix_socket_owner): {error}");
            io::Error::new(error.kind(), message)
        })?;
    }
    let mode = u32::from(config.unix_socket_mode.bits());
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
    listen(&socket, BACKLOG)?;
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
    Ok((listener, file))
}

/// The peer of an accepted connection.
pub(super) fn peer(stream: &UnixStream) -> PeerAddress {
    match stream.peer_cred() {
        Ok(found) => {
            PeerAddress::Unix { user: found.uid(), group: found.gid(), process: found.pid() }
        }
        Err(_) => PeerAddress::Unix { user: NOBODY, group: NOBODY, process: None },
    }
}

/// Removes the file of a socket whose server has ended.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let in_use = |why| io::Error::new(io::ErrorKind::AddrInUse, why);
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(in_use("something that is not a socket has this path")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removed the socket of a server that has ended");
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Also if its queue of connections is full.
        _ => Err(in_use("another server listens on this socket")),
    }
}

/// The numbers of the user and the group.
fn ids(owner: &UnixSocketOwner) -> io::Result<(Option<u32>, Option<u32>)> {
    let user = owner.user.as_deref().map(|name| {
        id("user", name, |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
    });
    let group = owner.group.as_deref().map(|name| {
        id("group", name, |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
    });
    Ok((user.transpose()?, group.transpose()?))
}

fn id(
    kind: &str,
    name: &str,
    find: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown =
        || format!("there is no {kind} {name}; use another unix_socket_owner, or its number");
    find(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, unknown()))
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

/// The number of the file system, and that of the file in it.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "cannot remove the socket: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BindAddress;

    /// A path in a directory of its own, which is removed when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Place {
            let number = getrandom::u64().expect("random");
            let path = std::env::temp_dir().join(format!("styx-socket-{number:x}"));
            std::fs::create_dir(&path).expect("created");
            Place(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("s")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn socket_has_its_mode_and_is_removed_when_it_is_closed() {
        let place = Place::new();
        let path = place.socket();
        for text in ["0660", "0600", "0666"] {
            let unix_socket_mode = text.parse().expect("a mode");
            let config = Config { unix_socket_mode, ..Config::default() };
            let bound = bind(&path, &config).await.expect(text);
            assert_eq!(mode(&path), u32::from(unix_socket_mode.bits()));
            UnixStream::connect(&path).await.expect("it listens");
            drop(bound);
            assert!(!path.exists(), "it was not removed");
        }
    }

    #[tokio::test]
    async fn only_a_socket_without_a_server_is_replaced() {
        let place = Place::new();
        let path = place.socket();
        let config = Config::default();
        let first = bind(&path, &config).await.expect("nothing is there");
        let refused = bind(&path, &config).await.expect_err("a server is there");
        assert!(refused.to_string().contains("another server listens"), "{refused}");
        // As a killed server leaves it.
        let (listener, file) = first;
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let (_listener, file) = bind(&path, &config).await.expect("its server has ended");
        // Another program replaced it.
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "mine").expect("written");
        drop(file);
        let refused = bind(&path, &config).await.expect_err("it is a file");
        assert!(refused.to_string().contains("not a socket"), "{refused}");
        assert_eq!(std::fs::read(&path).expect("it still exists"), b"mine");
    }

    #[tokio::test]
    async fn owner_that_does_not_exist_is_refused_before_anything_is_bound() {
        let place = Place::new();
        let path = place.socket();
        for owner in ["no-such-user", ":no-such-group"] {
            let unix_socket_owner = owner.parse().expect("an owner");
            let config = Config { unix_socket_owner, ..Config::default() };
            let refused = bind(&path, &config).await.expect_err(owner);
            assert!(refused.to_string().contains(owner.trim_start_matches(':')), "{refused}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn longest_path_of_the_configuration_fits_into_an_address() {
        let text = format!("unix:///{}", "x".repeat(106));
        let Ok(BindAddress::Unix(path)) = text.parse() else { panic!("{text}") };
        SocketAddrUnix::new(&*path).expect("it fits");
    }
}
