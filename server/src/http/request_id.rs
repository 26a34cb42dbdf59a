//! `X-Request-Id`: the answer echoes the caller's id. An error without one gets a new
//! id, so that the answer can be found in the server's log.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::header::REQUEST_ID;

const GIVEN_BYTES_MAX: usize = 128;

/// Generates ids that differ within a process, and very likely between processes.
#[derive(Debug)]
pub(super) struct Source {
    next: AtomicU64,
}

impl Source {
    pub(super) fn new() -> Source {
        // Without randomness ids are only unique within the process.
        Source { next: AtomicU64::new(getrandom::u64().unwrap_or_default()) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_maybe_shared(Bytes::from(format!("{number:016x}")))
            .unwrap_or(HeaderValue::from_static(""))
    }
}

/// The request's id, if it is short enough and printable.
pub(super) fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let fits = id.len() <= GIVEN_BYTES_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic);
    (fits && !id.is_empty()).then_some(id)
}

pub(super) fn echo(id: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id.clone());
    }
}
