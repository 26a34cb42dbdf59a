//! Small requests with small responses, retried if that is safe.
//!
//! A request is retried if its error is temporary, and if it was not carried out or is
//! safe to repeat. Retries back off, and end at the call timeout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::{Request, RequestBody, Transport};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};
use crate::options::UNKNOWN_HOST_TIMEOUT;

/// The most bytes of such a response: enough for a list of many thousand logs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A response that was read completely.
#[derive(Debug, Clone)]
pub(crate) struct BufferedResponse {
    headers: HeaderMap,
    body: Bytes,
}

impl BufferedResponse {
    /// A header's value, if the header exists and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body. Bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, which is JSON.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] if it is not JSON, or not of type `T`.
    pub(crate) fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Error::bad_answer(format!("the server's response cannot be parsed: {e}")))
    }
}

impl Transport {
    /// Sends a request and reads the complete response, within the call timeout.
    ///
    /// # Errors
    /// No connection, a response that is not 2xx, or no response in time. If the time ends during an
    /// attempt, the error is that of the attempt before, which says more.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        request: &Request,
        body: Bytes,
    ) -> Result<BufferedResponse, Error> {
        let timeout = self.options.call_timeout;
        let begun = Instant::now();
        let end = begun + timeout;
        let mut backoff = Backoff::random();
        let mut last = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.once(request, body.clone())).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                // This attempt may have been carried out, unlike the one before.
                Err(_) if !request.is_safe() => {
                    return Err(self.too_late(timeout).with_maybe_appended(true));
                }
                Err(_) => return Err(last.unwrap_or_else(|| self.too_late(timeout))),
            };
            let safe = request.is_safe() || !error.maybe_appended();
            if !(self.options.retry && safe && error.is_retriable()) {
                return Err(error);
            }
            let wait = backoff.next(error.facts().retry_after);
            let end = match error.kind() {
                Kind::UnknownHost => end.min(begun + UNKNOWN_HOST_TIMEOUT),
                _ => end,
            };
            if end.saturating_duration_since(Instant::now()) <= wait {
                return Err(error);
            }
            last = Some(error);
            tokio::time::sleep(wait).await;
            self.counts.retried();
        }
    }

    /// Sends a request once and reads the complete response.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), without a time limit. After an error with `maybe_appended`, it is
    /// not known whether the request was carried out.
    pub(crate) async fn once(
        self: &Arc<Self>,
        request: &Request,
        body: Bytes,
    ) -> Result<BufferedResponse, Error> {
        let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(body) };
        let mut response = self.send(request, body).await?;
        // The request was carried out, but the response to it is incomplete.
        let in_doubt = |e: Error| e.with_maybe_appended(!request.is_safe());
        let body = response.bytes(ANSWER_BYTES_MAX).await.map_err(in_doubt)?;
        Ok(BufferedResponse { headers: response.take_headers(), body })
    }

    pub(crate) fn too_late(&self, timeout: Duration) -> Error {
        let text = format!("{} did not respond within {timeout:?}", self.address);
        Error::new(Kind::TimedOut, text)
    }
}
