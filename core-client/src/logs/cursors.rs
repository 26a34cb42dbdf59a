//! Cursors: durable, named positions of a log, stored by the server.
//!
//! A [`Consumer`](crate::Consumer) with a [cursor](crate::consumer::Builder::cursor) uses them by
//! itself. The calls here are for looking at cursors, and for setting and deleting them by hand.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use styx_protocol::cursor::NewPosition;
use styx_protocol::{Code, CursorInfo, CursorName, LogName};

use super::{known_name, path};
use crate::client::Client;
use crate::error::Error;
use crate::transport::{Request, Transport};

impl Client {
    /// All cursors of a log, sorted by name. A cursor with the
    /// [`log_id`](CursorInfo::log_id) of another log was set before the log was truncated.
    ///
    /// # Errors
    /// `log_not_found`, and the errors of every call.
    pub async fn list_cursors(&self, log: &str) -> Result<Vec<CursorInfo>, Error> {
        let request = Request::get(format!("{}/cursors", path(log)?));
        self.call(request, Bytes::new()).await?.decode()
    }

    /// A cursor of a log.
    ///
    /// # Errors
    /// `cursor_not_found`, `log_not_found`, `log_changed` if the log was truncated after the
    /// cursor was set, and the errors of every call.
    pub async fn get_cursor(&self, log: &str, cursor: &str) -> Result<CursorInfo, Error> {
        let place = CursorPlace::existing(log, cursor)?;
        let request = Request::get(place.path());
        self.call(request, Bytes::new()).await?.decode()
    }

    /// Creates a cursor or moves it, also backwards: the next read with this cursor starts at
    /// `position`. It is durable when this returns. A consumer that uses the cursor loses it:
    /// its next commit fails with `cursor_taken`.
    ///
    /// # Errors
    /// `log_not_found`; `invalid_params` if the position is after the end of the log or the name
    /// is invalid; `too_many_cursors`; and the errors of every call. If
    /// [`maybe_appended`](Error::maybe_appended) is `true`, the cursor may have been set.
    pub async fn set_cursor(
        &self,
        log: &str,
        cursor: &str,
        position: u64,
    ) -> Result<CursorInfo, Error> {
        let name =
            cursor.parse().map_err(|e| Error::code_error(Code::InvalidParams, format!("{e}")))?;
        let place = CursorPlace { log: known_name(log)?, cursor: name };
        let to = NewPosition { position, log_id: None };
        let transport = Arc::clone(self.transport());
        let setting = async move {
            let request = place.put(CursorCondition::None);
            transport.fetch(&request, body(to)?).await?.decode()
        };
        self.runtime().run(setting).await
    }

    /// Deletes a cursor. A consumer that uses it loses it.
    ///
    /// # Errors
    /// `cursor_not_found`, `log_not_found`, and the errors of every call.
    pub async fn delete_cursor(&self, log: &str, cursor: &str) -> Result<(), Error> {
        let place = CursorPlace::existing(log, cursor)?;
        self.call(Request::new(Method::DELETE, place.path()), Bytes::new()).await.map(drop)
    }
}

/// A cursor's log and name.
#[derive(Debug, Clone)]
pub(crate) struct CursorPlace {
    pub(crate) log: LogName,
    pub(crate) cursor: CursorName,
}

/// The condition of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorCondition {
    None,
    /// The cursor does not exist.
    Absent,
    /// The cursor has this version.
    Version(u64),
}

impl CursorPlace {
    /// The place of a cursor that should exist. An invalid name is reported as
    /// `cursor_not_found`, as the server does.
    fn existing(log: &str, cursor: &str) -> Result<CursorPlace, Error> {
        let missing = |e| Error::code_error(Code::CursorNotFound, format!("{e}"));
        let cursor = cursor.parse().map_err(missing)?;
        Ok(CursorPlace { log: known_name(log)?, cursor })
    }

    fn path(&self) -> String {
        format!("/logs/{}/cursors/{}", self.log, self.cursor)
    }

    fn put(&self, condition: CursorCondition) -> Request {
        let request =
            Request::new(Method::PUT, self.path()).header("content-type", "application/json");
        match condition {
            CursorCondition::None => request,
            CursorCondition::Absent => request.header("if-none-match", "*"),
            CursorCondition::Version(version) => {
                request.header("if-match", format!("\"{version}\""))
            }
        }
    }

    /// Fetches the cursor, with retries; `None` if there is none.
    pub(crate) async fn get(
        &self,
        transport: &Arc<Transport>,
    ) -> Result<Option<CursorInfo>, Error> {
        match transport.fetch(&Request::get(self.path()), Bytes::new()).await {
            Ok(response) => response.decode().map(Some),
            Err(error) if error.is(Code::CursorNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the cursor with one attempt. After an error with `maybe_appended`, it is not known
    /// whether the cursor was changed.
    pub(crate) async fn set(
        &self,
        transport: &Arc<Transport>,
        to: NewPosition,
        condition: CursorCondition,
    ) -> Result<CursorInfo, Error> {
        transport.once(&self.put(condition), body(to)?).await?.decode()
    }
}

fn body(to: NewPosition) -> Result<Bytes, Error> {
    serde_json::to_vec(&to).map(Bytes::from).map_err(|e| Error::invalid_argument(e.to_string()))
}
