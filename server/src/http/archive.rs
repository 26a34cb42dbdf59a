//! Streams backups and restores. Only a few run at a time, so the server disconnects
//! a peer that is slower than the minimum rate.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::Call;
use super::answer::{self, Answer, AnswerBody};
use super::management::new_name;
use crate::auth::Action;
use crate::params;
use crate::session::Error;

/// The minimum rate of an archive, averaged over each `tcp_timeout` for which the
/// server waits for the peer.
const BYTES_PER_SECOND_MIN: u64 = 8 << 10;

pub(super) async fn backup(call: &mut Call<'_>) -> Result<Answer, Error> {
    let log = call.log()?;
    let mut backup = call.app.sessions.backup(&log)?;
    // The first read happens before the headers, so its failure is an error response.
    let first = backup.next().await.transpose()?;
    let lease = call.answer_lease(Action::Manage);
    let rest = stream::unfold((first, backup, lease), |(first, mut backup, lease)| async move {
        let chunk = match (first, lease.check()) {
            (_, Err(error)) => Err(error),
            (Some(first), Ok(())) => Ok(first),
            (None, Ok(())) => backup.next().await?,
        };
        Some((chunk, (None, backup, lease)))
    });
    let mut answer = Response::new(AnswerBody::with_minimum_rate(rest, BYTES_PER_SECOND_MIN));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let disposition = format!("attachment; filename={}-{seconds}.tar.gz", call.name);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(answer)
}

pub(super) async fn restore(call: &mut Call<'_>) -> Result<Answer, Error> {
    let name = new_name(&params::value(call.query(), "name").unwrap_or_default())?;
    call.new_log(&name)?;
    call.app.limits.restore_log(&call.access, &call.app.sessions, &call.name).await?;
    let body = call.take_body()?.with_minimum_rate(BYTES_PER_SECOND_MIN);
    let mut body = body.with_lease(call.lease(Action::Manage));
    let mut restore = call.app.sessions.restore(name)?;
    let mut broken = None;
    loop {
        let chunk = match body.next().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => break,
            Err(error) => {
                broken = Some(error);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        };
        let is_last = chunk.is_err();
        if !restore.push(chunk).await || is_last {
            break;
        }
    }
    match (restore.finish().await, broken) {
        (Ok(id), _) => {
            call.log_id = Some(id);
            Ok(answer::empty())
        }
        (Err(_), Some(broken)) => Err(broken),
        (Err(error), None) => Err(error),
    }
}
