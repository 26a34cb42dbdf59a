//! Small requests with small answers, asked again where that is safe.
//!
//! A request is repeated when it cannot have been carried out, or changes
//! nothing anyway, and when its error is a passing one; with back-off, until the
//! call time-out is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::{Body, Request, Transport};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};

/// Most bytes of such an answer: a list of many thousand logs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An answer that has been read whole.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    headers: HeaderMap,
    body: Bytes,
}

impl Whole {
    /// A header's value, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, which is JSON.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] when it is not, or not of this shape.
    pub(crate) fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Error::bad_answer(format!("the server's answer cannot be read: {e}")))
    }
}

impl Transport {
    /// Sends a request and reads its whole answer, within the call time-out.
    ///
    /// # Errors
    /// No connection, an answer that is not 2xx, or none in time.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        request: &Request,
        body: Bytes,
    ) -> Result<Whole, Error> {
        let patience = self.options.call_timeout;
        let end = Instant::now() + patience;
        let mut backoff = Backoff::random();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.once(request, body.clone())).await {
                Ok(Ok(whole)) => return Ok(whole),
                Ok(Err(error)) => error,
                Err(_) => return Err(self.too_late(patience, request)),
            };
            let safe = request.is_safe() || !error.maybe_appended();
            if !(self.options.retry && safe && error.is_retriable()) {
                return Err(error);
            }
            let wait = backoff.next(error.facts().retry_after);
            if end.saturating_duration_since(Instant::now()) <= wait {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(self: &Arc<Self>, request: &Request, body: Bytes) -> Result<Whole, Error> {
        let body = if body.is_empty() { Body::Empty } else { Body::Whole(body) };
        let mut answer = self.send(request, body).await?;
        let body = answer.bytes(ANSWER_BYTES_MAX).await?;
        Ok(Whole { headers: answer.take_headers(), body })
    }

    fn too_late(&self, patience: Duration, request: &Request) -> Error {
        let text = format!("{} did not answer within {patience:?}", self.address);
        Error::new(Kind::TimedOut, text).with_maybe_appended(!request.is_safe())
    }
}
