//! [`Client`]: the connection to one server.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::{CursorInfo, LogConfig, LogInfo};

use super::{ConsumerBuilder, ProducerBuilder, forward, wait};
use crate::client::ClientStats;
use crate::error::{Error, Kind};
use crate::events::Event;
use crate::{Address, ListedLog, LogDetails, ServerInfo, client, logs};

/// Bytes of an archive that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// See [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct Client(crate::Client);

/// See [`client::Builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder(client::Builder);

forward! { Builder => "client::Builder":
    address(impl Into<String>),
    token(impl Into<String>),
    ca_file(impl Into<PathBuf>),
    ca_pem(impl Into<Vec<u8>>),
    exact_certificate(impl Into<PathBuf>),
    server_name(impl Into<String>),
    connect_timeout(Duration),
    timeout(Duration),
    silence_timeout(Duration),
    user_agent(impl Into<String>),
    traceparent(impl Into<String>),
    retry(bool),
    threads(usize),
}

impl Builder {
    /// See [`client::Builder::connect`].
    ///
    /// # Errors
    /// As [`client::Builder::connect`].
    pub fn connect(self) -> Result<Client, Error> {
        wait(self.0.connect()).map(Client)
    }

    /// See [`client::Builder::build`].
    ///
    /// # Errors
    /// As [`client::Builder::build`].
    pub fn build(self) -> Result<Client, Error> {
        self.0.build().map(Client)
    }
}

impl Client {
    /// See [`Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    /// As [`Client::connect`](crate::Client::connect).
    pub fn connect(address: &str) -> Result<Client, Error> {
        Client::builder(address).connect()
    }

    /// See [`Client::builder`](crate::Client::builder).
    pub fn builder(address: &str) -> Builder {
        Builder(crate::Client::builder(address))
    }

    /// See [`Client::builder_from_env`](crate::Client::builder_from_env).
    pub fn builder_from_env() -> Builder {
        Builder(crate::Client::builder_from_env())
    }

    /// See [`Client::get_text`](crate::Client::get_text).
    ///
    /// # Errors
    /// As [`Client::get_text`](crate::Client::get_text).
    #[doc(hidden)]
    pub fn get_text(&self, path: &str) -> Result<String, Error> {
        wait(self.0.get_text(path))
    }

    /// See [`Client::check`](crate::Client::check).
    ///
    /// # Errors
    /// As [`Client::check`](crate::Client::check).
    pub fn check(&self) -> Result<ServerInfo, Error> {
        wait(self.0.check())
    }

    /// The same client for programs with an executor.
    #[must_use]
    pub fn as_async(&self) -> &crate::Client {
        &self.0
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.0.address()
    }

    /// See [`Client::producer`](crate::Client::producer).
    pub fn producer(&self, log: &str) -> ProducerBuilder {
        ProducerBuilder(self.0.producer(log))
    }

    /// See [`Client::consumer`](crate::Client::consumer).
    pub fn consumer(&self, log: &str) -> ConsumerBuilder {
        ConsumerBuilder(self.0.consumer(log))
    }

    /// See [`Client::stats`](crate::Client::stats).
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.0.stats()
    }

    /// See [`Client::take_events`](crate::Client::take_events).
    pub fn take_events(&self, into: &mut Vec<Event>) -> u64 {
        self.0.take_events(into)
    }

    /// See [`Client::create_log`](crate::Client::create_log).
    ///
    /// # Errors
    /// As [`Client::create_log`](crate::Client::create_log).
    pub fn create_log(
        &self,
        name: &str,
        config: LogConfig,
        exist_ok: bool,
    ) -> Result<LogInfo, Error> {
        wait(self.0.create_log(name, config, exist_ok))
    }

    /// See [`Client::list_logs`](crate::Client::list_logs).
    ///
    /// # Errors
    /// As [`Client::list_logs`](crate::Client::list_logs).
    pub fn list_logs(&self) -> Result<Vec<LogInfo>, Error> {
        wait(self.0.list_logs())
    }

    /// See [`Client::list_logs_with_archive`](crate::Client::list_logs_with_archive).
    ///
    /// # Errors
    /// As [`Client::list_logs_with_archive`](crate::Client::list_logs_with_archive).
    pub fn list_logs_with_archive(&self) -> Result<Vec<ListedLog>, Error> {
        wait(self.0.list_logs_with_archive())
    }

    /// See [`Client::get_log`](crate::Client::get_log).
    ///
    /// # Errors
    /// As [`Client::get_log`](crate::Client::get_log).
    pub fn get_log(&self, name: &str) -> Result<LogInfo, Error> {
        wait(self.0.get_log(name))
    }

    /// See [`Client::get_log_details`](crate::Client::get_log_details).
    ///
    /// # Errors
    /// As [`Client::get_log_details`](crate::Client::get_log_details).
    pub fn get_log_details(&self, name: &str) -> Result<LogDetails, Error> {
        wait(self.0.get_log_details(name))
    }

    /// See [`Client::adopt_log`](crate::Client::adopt_log).
    ///
    /// # Errors
    /// As [`Client::adopt_log`](crate::Client::adopt_log).
    pub fn adopt_log(&self, name: &str) -> Result<LogInfo, Error> {
        wait(self.0.adopt_log(name))
    }

    /// See [`Client::delete_log`](crate::Client::delete_log).
    ///
    /// # Errors
    /// As [`Client::delete_log`](crate::Client::delete_log).
    pub fn delete_log(&self, name: &str) -> Result<(), Error> {
        wait(self.0.delete_log(name))
    }

    /// See [`Client::truncate_log`](crate::Client::truncate_log).
    ///
    /// # Errors
    /// As [`Client::truncate_log`](crate::Client::truncate_log).
    pub fn truncate_log(&self, name: &str) -> Result<(), Error> {
        wait(self.0.truncate_log(name))
    }

    /// See [`Client::trim_log`](crate::Client::trim_log).
    ///
    /// # Errors
    /// As [`Client::trim_log`](crate::Client::trim_log).
    pub fn trim_log(&self, name: &str, position: u64) -> Result<LogInfo, Error> {
        wait(self.0.trim_log(name, position))
    }

    /// See [`Client::list_cursors`](crate::Client::list_cursors).
    ///
    /// # Errors
    /// As [`Client::list_cursors`](crate::Client::list_cursors).
    pub fn list_cursors(&self, log: &str) -> Result<Vec<CursorInfo>, Error> {
        wait(self.0.list_cursors(log))
    }

    /// See [`Client::get_cursor`](crate::Client::get_cursor).
    ///
    /// # Errors
    /// As [`Client::get_cursor`](crate::Client::get_cursor).
    pub fn get_cursor(&self, log: &str, cursor: &str) -> Result<CursorInfo, Error> {
        wait(self.0.get_cursor(log, cursor))
    }

    /// See [`Client::set_cursor`](crate::Client::set_cursor).
    ///
    /// # Errors
    /// As [`Client::set_cursor`](crate::Client::set_cursor).
    pub fn set_cursor(&self, log: &str, cursor: &str, position: u64) -> Result<CursorInfo, Error> {
        wait(self.0.set_cursor(log, cursor, position))
    }

    /// See [`Client::delete_cursor`](crate::Client::delete_cursor).
    ///
    /// # Errors
    /// As [`Client::delete_cursor`](crate::Client::delete_cursor).
    pub fn delete_cursor(&self, log: &str, cursor: &str) -> Result<(), Error> {
        wait(self.0.delete_cursor(log, cursor))
    }

    /// See [`Client::backup_log`](crate::Client::backup_log).
    ///
    /// # Errors
    /// As [`Client::backup_log`](crate::Client::backup_log).
    pub fn backup_log(&self, name: &str) -> Result<Backup, Error> {
        wait(self.0.backup_log(name)).map(Backup)
    }

    /// See [`Client::restore_log`](crate::Client::restore_log).
    ///
    /// # Errors
    /// As [`Client::restore_log`](crate::Client::restore_log).
    pub fn restore_log(&self, name: &str) -> Result<Restore, Error> {
        wait(self.0.restore_log(name)).map(Restore)
    }
}

/// See [`logs::Backup`].
#[derive(Debug)]
#[must_use = "a backup must be read"]
pub struct Backup(logs::Backup);

impl Backup {
    /// See [`logs::Backup::next_chunk`].
    ///
    /// # Errors
    /// As [`logs::Backup::next_chunk`].
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        wait(self.0.next_chunk())
    }

    /// Writes the complete archive to `to` and returns its size in bytes.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk), or [`Kind::InvalidArgument`] if writing to
    /// `to` fails.
    pub fn write_to(mut self, to: &mut impl Write) -> Result<u64, Error> {
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk()? {
            to.write_all(&chunk).map_err(|e| archive_error("written", &e))?;
            bytes += chunk.len() as u64;
        }
        to.flush().map_err(|e| archive_error("written", &e))?;
        Ok(bytes)
    }
}

/// See [`logs::Restore`].
#[derive(Debug)]
#[must_use = "the log does not exist until the restore is finished"]
pub struct Restore(logs::Restore);

impl Restore {
    /// See [`logs::Restore::write`].
    ///
    /// # Errors
    /// As [`logs::Restore::write`].
    pub fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        wait(self.0.write(chunk))
    }

    /// See [`logs::Restore::finish`].
    ///
    /// # Errors
    /// As [`logs::Restore::finish`].
    pub fn finish(self) -> Result<(), Error> {
        wait(self.0.finish())
    }

    /// Sends the complete archive from `from` and waits until the log exists.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), or [`Kind::InvalidArgument`] if reading `from` fails.
    /// Then the log was not created.
    pub fn read_from(mut self, from: &mut impl Read) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = from.read(&mut buffer).map_err(|e| archive_error("read", &e))?;
            match buffer.get(..read) {
                None | Some([]) => return self.finish(),
                Some(bytes) => self.write(Bytes::copy_from_slice(bytes))?,
            }
        }
    }
}

fn archive_error(what: &str, error: &std::io::Error) -> Error {
    Error::new(Kind::InvalidArgument, format!("the archive cannot be {what}: {error}"))
}
