//! `styx logs backup` and `restore`: an archive from the server to standard output, and
//! from standard input to the server. The archive is streamed, never whole in memory.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;

use bytes::Bytes;
use styx_client::blocking::Client;

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

const CHUNK_BYTES: usize = 256 << 10;

pub(super) fn backup(client: &Client, name: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        let message = format!(
            "cannot write an archive to a terminal; redirect it to a file, for example \
             `styx logs backup {name} > {name}.tar.gz`"
        );
        return Err(Failure::Failed(message));
    }
    let mut archive = client.backup_log(name)?;
    let mut progress = Progress::of_bytes(None);
    while let Some(chunk) = archive.next_chunk()? {
        output::write(&chunk)?;
        progress.add_bytes(chunk.len() as u64);
    }
    progress.finish("backed up");
    Ok(())
}

pub(super) fn restore(client: &Client, name: &str) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        let message = format!(
            "cannot read an archive from a terminal; redirect it from a file, for example \
             `styx logs restore {name} < {name}.tar.gz`"
        );
        return Err(Failure::Failed(message));
    }
    // The server may refuse the name before a long archive is sent.
    let mut restore = client.restore_log(name)?;
    let progress = Progress::of_bytes(stdin_bytes());
    let mut archive = progress.count_bytes(std::io::stdin().lock());
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let unreadable = |error| Failure::Failed(format!("cannot read standard input: {error}"));
        let read = archive.read(&mut buffer).map_err(unreadable)?;
        match buffer.get(..read) {
            None | Some([]) => break,
            Some(bytes) => restore.write(Bytes::copy_from_slice(bytes))?,
        }
    }
    restore.finish()?;
    progress.finish("restored");
    Ok(())
}

/// The length of standard input, if it is a file.
fn stdin_bytes() -> Option<u64> {
    let file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}
