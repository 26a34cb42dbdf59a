//! [`Tracked`]: an answer's body that ends its request when it has been sent or
//! given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::activity::InRequest;
use crate::http::AnswerBody;

/// A body and the request it answers.
#[derive(Debug)]
pub(super) struct Tracked {
    body: AnswerBody,
    _request: InRequest,
}

impl Tracked {
    pub(super) fn new(body: AnswerBody, request: InRequest) -> Tracked {
        Tracked { body, _request: request }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
