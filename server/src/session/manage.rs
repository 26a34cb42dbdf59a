//! Creating, looking at and removing logs. What waits for the disk runs on a
//! blocking thread.

use serde::Serialize;
use styx_protocol::{Code, LogConfig, LogId, LogInfo, LogName, Position};

use super::{Error, Known, OpenLog, Sessions, blocking, existing};

/// What `?details=true` adds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Details {
    #[serde(flatten)]
    pub(crate) info: LogInfo,
    pub(crate) config: LogConfig,
    /// µs since the epoch; `None` while there is no record.
    pub(crate) timestamp_first: Option<u64>,
    pub(crate) timestamp_last: Option<u64>,
}

impl Sessions {
    /// Makes a new log.
    pub(crate) async fn create(
        &self,
        name: LogName,
        config: LogConfig,
    ) -> Result<(LogInfo, LogId), Error> {
        config.validate()?;
        let catalog = self.catalog.clone();
        let log = blocking(move || catalog.create(&name, config)).await?;
        Ok((log.info(), log.id()))
    }

    /// What the API says about a log, whatever its status, and its id where
    /// that is known.
    pub(crate) fn info(
        &self,
        name: &str,
        known: &Known,
    ) -> Result<(LogInfo, Option<LogId>), Error> {
        let name = existing(name)?;
        let id = self.identity(&name, known)?;
        Ok((self.catalog.info(&name)?, id))
    }

    /// Removes a log whatever its status; its id, where that is known.
    pub(crate) async fn delete(&self, name: &str, known: &Known) -> Result<Option<LogId>, Error> {
        let name = existing(name)?;
        let id = self.identity(&name, known)?;
        let catalog = self.catalog.clone();
        blocking(move || catalog.delete(&name)).await?;
        Ok(id)
    }

    /// Removes all records of a log; its new id.
    pub(crate) async fn truncate(&self, name: &str, known: &Known) -> Result<LogId, Error> {
        let name = existing(name)?;
        self.identity(&name, known)?;
        let catalog = self.catalog.clone();
        Ok(blocking(move || catalog.truncate(&name)).await?.id())
    }

    /// The id of a log that may be damaged, checked against what is known.
    fn identity(&self, name: &LogName, known: &Known) -> Result<Option<LogId>, Error> {
        match self.catalog.log(name) {
            Ok(log) => {
                known.check(log.id(), log.end_position())?;
                Ok(Some(log.id()))
            }
            // What cannot be checked is not done to a log that may be another.
            Err(cause) if !known.is_empty() || cause.code() == Code::LogNotFound => {
                Err(cause.into())
            }
            Err(_) => Ok(None),
        }
    }
}

impl OpenLog {
    /// What the API says about the log, its configuration and the times of its
    /// ends.
    pub(crate) async fn details(&self) -> Result<Details, Error> {
        let log = self.log.clone();
        let times = blocking(move || Ok(log.timestamps())).await?;
        Ok(Details {
            info: self.log.info(),
            config: self.log.config(),
            timestamp_first: times.map(|(first, _)| first),
            timestamp_last: times.map(|(_, last)| last),
        })
    }

    /// Removes whole segments before a position.
    pub(crate) async fn trim(&self, position: Position) -> Result<LogInfo, Error> {
        let log = self.log.clone();
        blocking(move || log.trim(position)).await?;
        Ok(self.log.info())
    }
}
