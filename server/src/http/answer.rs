//! Answers: their body type, the contract's JSON format, and how errors are encoded.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use styx_protocol::Code;

use crate::session::{Error, ErrorField};

/// An answer.
pub(crate) type Answer = Response<AnswerBody>;

/// nginx: whether a proxy buffers the answer.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The bytes of an answer: known as a whole, or produced while they are sent.
pub(crate) enum AnswerBody {
    Whole(Bytes),
    Stream(Chunks),
    /// A stream with a minimum rate in bytes per second.
    WithMinimumRate(Chunks, u64),
    /// A stream that failed: the next poll aborts the connection.
    Failed(Option<Error>),
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

impl AnswerBody {
    /// A body of unknown length. An error aborts the connection, so that the client
    /// cannot mistake it for the end.
    pub(super) fn stream(
        stream: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
    ) -> AnswerBody {
        AnswerBody::Stream(Box::pin(stream))
    }

    /// The same with a minimum rate, for answers that hold much.
    pub(super) fn with_minimum_rate(
        stream: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
        bytes_per_second_min: u64,
    ) -> AnswerBody {
        AnswerBody::WithMinimumRate(Box::pin(stream), bytes_per_second_min)
    }

    /// The minimum rate at which the peer must read; 0 for none.
    pub(crate) fn bytes_per_second_min(&self) -> u64 {
        match self {
            AnswerBody::WithMinimumRate(_, least) => *least,
            AnswerBody::Whole(_) | AnswerBody::Stream(_) | AnswerBody::Failed(_) => 0,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            AnswerBody::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            AnswerBody::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            AnswerBody::Failed(error) => Poll::Ready(error.take().map(Err)),
            AnswerBody::Stream(stream) | AnswerBody::WithMinimumRate(stream, _) => {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Err(error))) => {
                        tracing::warn!("an answer was aborted: {error}");
                        *self = AnswerBody::Failed(Some(error));
                        // Fails at the next poll: hyper first sends what it has, and would
                        // discard that together with the connection.
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    polled => polled.map(|next| next.map(|result| result.map(Frame::data))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Stream(_) | AnswerBody::WithMinimumRate(..) | AnswerBody::Failed(_) => {
                SizeHint::default()
            }
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}

/// 200 with an empty body.
pub(super) fn empty() -> Answer {
    Response::new(AnswerBody::Whole(Bytes::new()))
}

/// Tells proxies to pass the answer on at once, unchanged, and to keep no copy of it.
/// Without `X-Accel-Buffering`, nginx holds events back until its buffer is full.
pub(super) fn forbid_buffering(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// 200 with JSON, indented by two spaces, a newline at the end.
pub(super) fn json(value: &impl Serialize) -> Answer {
    // Serializing these types with string keys cannot fail.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    let mut answer = Response::new(AnswerBody::Whole(bytes.into()));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// The challenges of RFC 6750: without a token, and with one that is not valid.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="styx""#);
const CHALLENGE_INVALID: HeaderValue =
    HeaderValue::from_static(r#"Bearer realm="styx", error="invalid_token""#);

/// The answer for an error; `allowed` lists the methods of the path.
pub(super) fn of_error(error: &Error, allowed: Option<String>) -> Answer {
    let mut answer = json(&ErrorJson(error));
    *answer.status_mut() =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = error.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.code == Code::Unauthorized {
        let challenge = if error.has_invalid_token { CHALLENGE_INVALID } else { CHALLENGE };
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let (Code::MethodNotAllowed, Some(allowed)) = (error.code, allowed)
        && let Ok(allowed) = HeaderValue::try_from(allowed)
    {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// `{"code", "message"}` and the fields.
struct ErrorJson<'a>(&'a Error);

impl Serialize for ErrorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 + self.0.fields.len()))?;
        map.serialize_entry("code", self.0.code.as_str())?;
        map.serialize_entry("message", &self.0.message)?;
        for (name, field) in &self.0.fields {
            match field {
                ErrorField::Number(number) => map.serialize_entry(name, number)?,
                ErrorField::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn error_is_encoded_as_code_message_and_fields() {
        let error = Error::new(Code::OutOfRange, "m").with("start_position", 1);
        let answer = of_error(&error, None);
        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        let text = "{\n  \"code\": \"out_of_range\",\n  \"message\": \"m\",\n  \
                    \"start_position\": 1\n}\n";
        assert_eq!(body, text);
    }

    #[tokio::test]
    async fn empty_list_is_two_brackets() {
        let body = json(&Vec::<u8>::new()).into_body().collect().await.expect("whole").to_bytes();
        assert_eq!(body, "[]\n");
    }

    #[test]
    fn wrong_method_answer_has_an_allow_header() {
        let error = Error::new(Code::MethodNotAllowed, "m");
        let answer = of_error(&error, Some("GET, POST".to_owned()));
        assert_eq!(answer.headers()[ALLOW], "GET, POST");
    }
}
