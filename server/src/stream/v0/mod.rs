//! styx/0, the first binary protocol, unchanged for its clients.
//!
//! ```text
//! GET   consumer   101 · 50 ms of silence · records ─▶ … FIN
//! POST  producer   101 · ◀─ records · acks ─▶ … FIN
//! ```
//!
//! Either side sends heartbeats, and error 0 when it cannot continue. A handshake
//! that is refused gets an HTTP error instead of the 101.

mod connection;
mod consumer;
mod producer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};
use styx_protocol::handshake::Protocol;

use self::connection::Styx0Connection;
use self::consumer::Styx0Consumer;
use self::producer::Styx0Producer;
use crate::auth::Action;
use crate::handover::{AcceptedUpgrade, FrontEnd, UpgradeRequest};
use crate::header;
use crate::peer::HeartbeatTimeouts;
use crate::session::Error;
use crate::stream::timeouts;

/// The front end of styx/0.
#[derive(Debug)]
pub(crate) struct Styx0;

impl FrontEnd for Styx0 {
    fn name(&self) -> &'static str {
        Protocol::Styx0.token()
    }

    fn speaks(&self, protocol: &str) -> bool {
        protocol.eq_ignore_ascii_case(self.name())
    }

    fn accept<'a>(
        &'a self,
        request: UpgradeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AcceptedUpgrade, Error>> + Send + 'a>> {
        Box::pin(accept(request))
    }
}

async fn accept(request: UpgradeRequest) -> Result<AcceptedUpgrade, Error> {
    let timeouts = timeouts::negotiate(&request)?;
    let headers = headers(timeouts);
    let app = Arc::clone(&request.app);
    if request.is_write {
        request.log.check_appendable()?;
        let ending = request.ending(Action::Append);
        let log = request.log;
        return Ok(AcceptedUpgrade::new(headers, move |socket| async move {
            let connection = Styx0Connection::new(
                &app,
                socket,
                timeouts,
                log.config().payload_bytes_max(),
                ending,
            );
            let gone = log.gone();
            Styx0Producer::new(connection, &app, &log).serve(gone).await;
        }));
    }
    let params = request.read_params()?;
    let follower = params.follow.then(|| request.follower(Protocol::Styx0.token()));
    let consumer = Styx0Consumer::new(&app, &request.log, &params, follower).await?;
    let ending = request.ending(Action::Read);
    Ok(AcceptedUpgrade::new(headers, move |socket| async move {
        // A consumer sends no records.
        let connection = Styx0Connection::new(&app, socket, timeouts, 0, ending);
        consumer.serve(connection).await;
    }))
}

/// The headers of the 101. The first clients require the timeout.
fn headers(timeouts: HeartbeatTimeouts) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(UPGRADE, HeaderValue::from_static(Protocol::Styx0.token()));
    headers.insert(header::TIMEOUT, HeaderValue::from(timeouts.ours.as_secs()));
    headers
}
