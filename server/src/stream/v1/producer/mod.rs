//! A styx/1 producer's stream, from the handshake to its end.
//!
//! ```text
//! claim the producer id ─▶ older connections are done ─▶ epoch is durable ─▶ 101 ─▶ connection
//! ```
//!
//! Invariant: the producer's state in the 101 is final. Nothing that an older
//! connection sent is appended after it.

mod connection;
mod receive_buffer;
mod socket;

use std::time::Duration;

use http::HeaderValue;
use styx_protocol::handshake::ProducerParams;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX};

use super::handshake;
use crate::auth::Action;
use crate::handover::{AcceptedUpgrade, UpgradeRequest};
use crate::session::{Claim, Error};
use crate::stream::timeouts;
use crate::{header, params};
use connection::ProducerConnection;

/// How long older connections may take to finish their appends.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// The producer whose blocks a connection accepts.
#[derive(Debug)]
struct ProducerIdentity {
    id: u64,
    epoch: u32,
    claim: Claim,
}

/// Accepts a handshake, or returns why not.
pub(super) async fn accept(request: UpgradeRequest) -> Result<AcceptedUpgrade, Error> {
    let timeouts = timeouts::negotiate(&request)?;
    let codecs = handshake::codecs(&request)?;
    request.log.check_appendable()?;
    let (identity, next_sequence) = match ProducerParams::parse(params::pairs(&request.query))? {
        Some(asked) => {
            let (identity, next_sequence) = begin(&request, asked).await?;
            (Some(identity), next_sequence)
        }
        None => (None, None),
    };
    // The log may have changed while older connections finished.
    request.log.check(&request.known)?;
    let mut headers = handshake::headers(&request, timeouts, codecs);
    headers.insert(header::MAX_BLOCK_SIZE, HeaderValue::from(BLOCK_RAW_BYTES_MAX));
    headers.insert(header::MAX_IN_FLIGHT_BLOCKS, HeaderValue::from(IN_FLIGHT_BLOCKS_MAX));
    if let Some(identity) = &identity {
        headers.insert(header::EPOCH, HeaderValue::from(identity.epoch));
    }
    if let Some(next_sequence) = next_sequence {
        headers.insert(header::NEXT_SEQUENCE, HeaderValue::from(next_sequence));
    }
    let ending = request.ending(Action::Append);
    let (app, log) = (request.app, request.log);
    Ok(AcceptedUpgrade::new(headers, move |socket| {
        ProducerConnection::new(app, log, timeouts, identity, codecs, socket).serve(ending)
    }))
}

/// Takes over the producer id, and makes its epoch the current one.
async fn begin(
    request: &UpgradeRequest,
    asked: ProducerParams,
) -> Result<(ProducerIdentity, Option<u64>), Error> {
    let log = &request.log;
    let id = asked.id.get();
    // A producer that is fenced already must not end a newer connection.
    log.check_epoch(id, asked.epoch)?;
    let claim = request.app.sessions.producers().claim(log.id(), id);
    claim.wait_until_sole(SETTLE_TIME_MAX).await?;
    let begun = log.begin_producer(id, asked.epoch);
    let state = tokio::select! {
        state = begun => state?,
        () = claim.taken_over() => return Err(crate::session::taken_over()),
    };
    Ok((ProducerIdentity { id, epoch: state.epoch, claim }, state.next_sequence))
}
