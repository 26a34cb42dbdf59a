//! A styx/1 consumer's stream, from the handshake to its end.

mod connection;
mod socket;
#[cfg(target_os = "linux")]
mod transfer;

use styx_protocol::handshake::Protocol;

use super::handshake;
use crate::auth::Action;
use crate::handover::{AcceptedUpgrade, UpgradeRequest};
use crate::header;
use crate::session::{BlockQuery, Error};
use crate::stream::timeouts;
use connection::ConsumerConnection;
use socket::ConsumerSocket;

/// Bytes of blocks that are read at a time and sent in one frame. A single block
/// may be larger.
const BLOCKS_BYTES_MAX: usize = 1 << 20;

/// Accepts a handshake, or returns why not.
pub(super) async fn accept(request: UpgradeRequest) -> Result<AcceptedUpgrade, Error> {
    let timeouts = timeouts::negotiate(&request)?;
    let params = request.read_params()?;
    let from = request.log.seek(&params).await?;
    let mut until = (!params.follow).then(|| request.log.end_position());
    if let Some(count) = params.count {
        let counted = from + count;
        until = Some(until.map_or(counted, |until| until.min(counted)));
    }
    let codecs = handshake::codecs(&request)?;
    let query = BlockQuery { until, codecs, bytes_max: BLOCKS_BYTES_MAX };
    let follower = params.follow.then(|| request.follower(Protocol::Styx1.token()));
    let chunks = request.app.sessions.response_budget().chunks();
    let reader = request.log.read_blocks(from, query, chunks)?.followed_by(follower);
    let mut headers = handshake::headers(&request, timeouts, codecs);
    headers.insert(header::POSITION, header::of_position(from));
    let ending = request.ending(Action::Read);
    let (app, log) = (request.app, request.log);
    Ok(AcceptedUpgrade::new(headers, move |socket| {
        let socket = ConsumerSocket::new(log.clone(), timeouts, socket, ending);
        ConsumerConnection::new(app, log, timeouts, until, reader, socket).serve()
    }))
}
