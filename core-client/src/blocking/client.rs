//! [`Client`]: a server to talk to.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::{LogConfig, LogInfo};

use super::{ConsumerBuilder, ProducerBuilder, forward, wait};
use crate::error::{Error, Kind};
use crate::{Address, LogDetails, client, logs};

/// Bytes of an archive that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// See [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct Client(crate::Client);

/// See [`client::Builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder(client::Builder);

forward! { Builder => "client::Builder":
    token(impl Into<String>),
    ca_file(impl Into<PathBuf>),
    ca_pem(impl Into<Vec<u8>>),
    server_name(impl Into<String>),
    connect_timeout(Duration),
    timeout(Duration),
    silence_timeout(Duration),
    user_agent(impl Into<String>),
    retry(bool),
    threads(usize),
}

impl Builder {
    /// See [`client::Builder::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect(self) -> Result<Client, Error> {
        wait(self.0.connect()).map(Client)
    }

    /// See [`client::Builder::build`].
    ///
    /// # Errors
    /// As there.
    pub fn build(self) -> Result<Client, Error> {
        self.0.build().map(Client)
    }
}

impl Client {
    /// See [`Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    /// As there.
    pub fn connect(address: &str) -> Result<Client, Error> {
        Client::builder(address).connect()
    }

    /// See [`Client::builder`](crate::Client::builder).
    pub fn builder(address: &str) -> Builder {
        Builder(crate::Client::builder(address))
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

    /// See [`Client::create_log`](crate::Client::create_log).
    ///
    /// # Errors
    /// As there.
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
    /// As there.
    pub fn list_logs(&self) -> Result<Vec<LogInfo>, Error> {
        wait(self.0.list_logs())
    }

    /// See [`Client::get_log`](crate::Client::get_log).
    ///
    /// # Errors
    /// As there.
    pub fn get_log(&self, name: &str) -> Result<LogInfo, Error> {
        wait(self.0.get_log(name))
    }

    /// See [`Client::get_log_details`](crate::Client::get_log_details).
    ///
    /// # Errors
    /// As there.
    pub fn get_log_details(&self, name: &str) -> Result<LogDetails, Error> {
        wait(self.0.get_log_details(name))
    }

    /// See [`Client::delete_log`](crate::Client::delete_log).
    ///
    /// # Errors
    /// As there.
    pub fn delete_log(&self, name: &str) -> Result<(), Error> {
        wait(self.0.delete_log(name))
    }

    /// See [`Client::truncate_log`](crate::Client::truncate_log).
    ///
    /// # Errors
    /// As there.
    pub fn truncate_log(&self, name: &str) -> Result<(), Error> {
        wait(self.0.truncate_log(name))
    }

    /// See [`Client::trim_log`](crate::Client::trim_log).
    ///
    /// # Errors
    /// As there.
    pub fn trim_log(&self, name: &str, position: u64) -> Result<LogInfo, Error> {
        wait(self.0.trim_log(name, position))
    }

    /// See [`Client::backup_log`](crate::Client::backup_log).
    ///
    /// # Errors
    /// As there.
    pub fn backup_log(&self, name: &str) -> Result<Backup, Error> {
        wait(self.0.backup_log(name)).map(Backup)
    }

    /// See [`Client::restore_log`](crate::Client::restore_log).
    ///
    /// # Errors
    /// As there.
    pub fn restore_log(&self, name: &str) -> Result<Restore, Error> {
        wait(self.0.restore_log(name)).map(Restore)
    }
}

/// See [`logs::Backup`].
#[derive(Debug)]
#[must_use = "a backup has to be read"]
pub struct Backup(logs::Backup);

impl Backup {
    /// See [`logs::Backup::next_chunk`].
    ///
    /// # Errors
    /// As there.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        wait(self.0.next_chunk())
    }

    /// Writes the whole archive: how many bytes.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk), or `to` takes no more: then
    /// [`Kind::InvalidArgument`].
    pub fn write_to(mut self, to: &mut impl Write) -> Result<u64, Error> {
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk()? {
            to.write_all(&chunk).map_err(|e| unusable("written", &e))?;
            bytes += chunk.len() as u64;
        }
        to.flush().map_err(|e| unusable("written", &e))?;
        Ok(bytes)
    }
}

/// See [`logs::Restore`].
#[derive(Debug)]
#[must_use = "a restore is nothing until it is finished"]
pub struct Restore(logs::Restore);

impl Restore {
    /// See [`logs::Restore::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        wait(self.0.write(chunk))
    }

    /// See [`logs::Restore::finish`].
    ///
    /// # Errors
    /// As there.
    pub fn finish(self) -> Result<(), Error> {
        wait(self.0.finish())
    }

    /// Sends a whole archive and waits until the log is there.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), or `from` cannot be read: then
    /// [`Kind::InvalidArgument`], and nothing is left behind.
    pub fn read_from(mut self, from: &mut impl Read) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = from.read(&mut buffer).map_err(|e| unusable("read", &e))?;
            match buffer.get(..read) {
                None | Some([]) => return self.finish(),
                Some(bytes) => self.write(Bytes::copy_from_slice(bytes))?,
            }
        }
    }
}

fn unusable(what: &str, error: &std::io::Error) -> Error {
    Error::new(Kind::InvalidArgument, format!("the archive cannot be {what}: {error}"))
}
