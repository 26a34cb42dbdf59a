//! [`TrackedBody`]: an answer's body. It ends its request when it was sent or
//! dropped, and reports its progress to the HTTP/2 stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::activity::RequestGuard;
use super::stream_executor::ResponseProgress;
use crate::http::{Answer, AnswerBody};
use crate::limits::ConnectionPlace;

/// Bytes that HTTP/2 gets at a time. It asks for more as soon as the peer's window
/// has space for one byte, and keeps everything that it gets until it is sent.
const PIECE_BYTES: usize = 64 << 10;

/// A body and the request it answers.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: AnswerBody,
    /// The rest of the body's last frame, for HTTP/2.
    rest: Bytes,
    progress: Option<Arc<ResponseProgress>>,
    _request: RequestGuard,
    /// Among the connections of a principal with limits.
    _place: Option<ConnectionPlace>,
}

impl TrackedBody {
    /// The answer with a body of this kind.
    pub(super) fn of(mut answer: Answer, request: RequestGuard) -> http::Response<TrackedBody> {
        let place = answer.extensions_mut().remove::<ConnectionPlace>();
        answer.map(|body| TrackedBody::new(body, request, place))
    }

    fn new(body: AnswerBody, request: RequestGuard, place: Option<ConnectionPlace>) -> TrackedBody {
        let progress = ResponseProgress::of_this_task();
        let bytes_per_second_min = body.bytes_per_second_min();
        match &progress {
            Some(progress) => {
                progress.set_minimum_rate(bytes_per_second_min);
                progress.handed_over(0);
            }
            None => request.set_minimum_rate(bytes_per_second_min),
        }
        TrackedBody { body, rest: Bytes::new(), progress, _request: request, _place: place }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(progress) = &this.progress else { return Pin::new(&mut this.body).poll_frame(cx) };
        progress.taken();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        progress.handed_over(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
