//! Creates, describes and removes logs. Work that waits for the disk runs on a
//! blocking thread.

use serde::Serialize;
use styx_protocol::{Code, LogConfig, LogId, LogInfo, LogName, Position};

use super::{Error, OpenLog, Sessions, blocking, existing};

/// The answer to `?details=true`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Details {
    #[serde(flatten)]
    pub(crate) info: LogInfo,
    pub(crate) config: LogConfig,
    /// µs since the epoch; `None` while there is no record.
    pub(crate) timestamp_first: Option<u64>,
    pub(crate) timestamp_last: Option<u64>,
    /// Absent without an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archived_position: Option<u64>,
}

impl Sessions {
    /// Creates a log.
    ///
    /// # Errors
    /// Its configuration is invalid or beyond the limit of this server, or its name is in
    /// use.
    pub(crate) async fn create(
        &self,
        name: LogName,
        config: LogConfig,
    ) -> Result<(LogInfo, LogId), Error> {
        config.validate()?;
        check_record_size(config.max_record_size, self.record_bytes_max)?;
        let catalog = self.catalog.clone();
        let log = blocking(move || catalog.create(&name, config)).await?;
        Ok((log.info(), log.id()))
    }

    /// Serves a log whose directory was put into the data directory by hand.
    pub(crate) async fn adopt(&self, name: &str) -> Result<(LogInfo, LogId), Error> {
        let (name, catalog) = (existing(name)?, self.catalog.clone());
        let log = blocking(move || catalog.adopt(&name)).await?;
        Ok((log.info(), log.id()))
    }

    /// The API's description of a log, whatever its status.
    pub(crate) fn info(&self, name: &str) -> Result<LogInfo, Error> {
        Ok(self.catalog.info(&existing(name)?)?)
    }

    /// Why there is no log with this name. Looks for an unknown directory with the name.
    pub(crate) async fn why_missing(&self, name: &str) -> Error {
        let (name, catalog) = match existing(name) {
            Ok(name) => (name, self.catalog.clone()),
            Err(error) => return error,
        };
        match blocking(move || Ok(catalog.why_missing(&name))).await {
            Ok(cause) => cause.into(),
            Err(error) => error,
        }
    }

    /// Removes a log whatever its status.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        let (name, catalog) = (existing(name)?, self.catalog.clone());
        blocking(move || catalog.delete(&name)).await
    }

    /// Removes all records of a log whatever its status; returns its new id.
    pub(crate) async fn truncate(&self, name: &str) -> Result<LogId, Error> {
        let (name, catalog) = (existing(name)?, self.catalog.clone());
        Ok(blocking(move || catalog.truncate(&name)).await?.id())
    }
}

/// Checks the largest record of a new log against the limit of this server.
fn check_record_size(asked: i64, record_bytes_max: usize) -> Result<(), Error> {
    if usize::try_from(asked).is_ok_and(|asked| asked <= record_bytes_max) {
        return Ok(());
    }
    let message = format!(
        "max_record_size is {asked}, but this server creates logs with at most \
         {record_bytes_max} (max_log_record_size): use a smaller value, or raise \
         max_log_record_size in the server's configuration"
    );
    Err(Error::new(Code::InvalidParams, message))
}

impl OpenLog {
    /// The API's description of the log, its configuration, and the timestamps of
    /// its first and last record.
    pub(crate) async fn details(&self) -> Result<Details, Error> {
        let log = self.log.clone();
        let times = blocking(move || Ok(log.timestamps())).await?;
        Ok(Details {
            info: self.log.info(),
            config: self.log.config(),
            timestamp_first: times.map(|(first, _)| first),
            timestamp_last: times.map(|(_, last)| last),
            archived_position: self.archived_position().map(|position| position.0),
        })
    }

    /// Removes whole segments before a position.
    pub(crate) async fn trim(&self, position: Position) -> Result<LogInfo, Error> {
        let log = self.log.clone();
        blocking(move || log.trim(position)).await?;
        Ok(self.log.info())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_records_than_the_server_allows_are_refused_with_the_limit_and_its_key() {
        assert!(check_record_size(1 << 20, 1 << 20).is_ok());
        let refused = check_record_size((1 << 20) + 1, 1 << 20).expect_err("beyond the limit");
        assert_eq!(refused.code, Code::InvalidParams);
        assert!(refused.message.contains("at most 1048576 (max_log_record_size)"), "{refused}");
    }
}
