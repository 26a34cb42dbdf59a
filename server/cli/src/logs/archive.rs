//! backup and restore: an archive from the server to standard output, and back
//! from standard input. Neither is ever whole in memory.

use std::io::{IsTerminal, Read};

use super::path;
use crate::failure::Failure;
use crate::http::{Body, Call, Client, Error};
use crate::output;
use crate::progress::Progress;

pub(super) fn backup(client: &Client, name: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        let message = format!(
            "an archive is not for a terminal: write it to a file, as in \
             `styx logs backup {name} > {name}.tar.gz`"
        );
        return Err(Failure::Failed(message));
    }
    let answer = client.send(&Call::get(path(name, "/backup")?), Body::None)?;
    let progress = Progress::of_bytes(None);
    let mut archive = progress.count_bytes(answer.reader());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = archive.read(&mut buffer).map_err(Error::lost)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        output::write(bytes)?;
    }
    progress.finish("backed up");
    Ok(())
}

pub(super) fn restore(client: &Client, name: &str) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        let message = format!(
            "restore reads an archive from standard input, as in \
             `styx logs restore {name} < {name}.tar.gz`"
        );
        return Err(Failure::Failed(message));
    }
    let progress = Progress::of_bytes(stdin_bytes());
    let mut archive = progress.count_bytes(std::io::stdin().lock());
    // The server may refuse the name before a long archive is sent.
    let call = Call::post("/logs/restore")
        .query("name", name)
        .header("content-type", "application/gzip")
        .header("expect", "100-continue");
    client.send(&call, Body::Stream(&mut archive))?;
    progress.finish("restored");
    Ok(())
}

/// How long standard input is, if it is a file.
#[cfg(unix)]
fn stdin_bytes() -> Option<u64> {
    use std::os::fd::AsFd;
    let file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

#[cfg(not(unix))]
fn stdin_bytes() -> Option<u64> {
    None
}
