//! Accepts a handshake and starts the connection that it asks for.
//!
//! ```text
//! GET                                                     read
//! POST, GET with X-HTTP-Method-Override: POST, mode=write write
//! ```

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use styx_protocol::Code;
use tungstenite::handshake::derive_accept_key;

use super::connection::WebSocketConnection;
use super::consumer::WebSocketConsumer;
use super::decoder::MessageDecoder;
use super::producer::{Acks, READ_BYTES_MIN, WebSocketProducer};
use crate::app::App;
use crate::auth::Action;
use crate::handover::{AcceptedUpgrade, Socket, UpgradeRequest};
use crate::session::{Condition, Error};
use crate::{header, params};

const VERSION: &str = "13";
const KEY_BYTES: usize = 16;
/// Largest read and largest batch of records.
const READ_BYTES_MAX: usize = 64 << 10;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Whether the handshake has the one version that exists.
pub(super) fn is_supported_version(headers: &HeaderMap) -> bool {
    header::text(headers, &SEC_WEBSOCKET_VERSION) == Some(VERSION)
}

/// The headers that answer a handshake of another version.
pub(super) fn versions() -> HeaderMap {
    let version = (SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    HeaderMap::from_iter([version])
}

pub(super) async fn accept(request: UpgradeRequest) -> Result<AcceptedUpgrade, Error> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key(&request)?);
    if let Some(protocol) = subprotocol(&request.headers) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if writes(request.is_write, &request.query)? {
        write(&request, headers)
    } else {
        read(&request, headers).await
    }
}

/// The subprotocol, if the client offers it. A browser that offers subprotocols accepts only a
/// connection with one of them, and one of them may be its token.
fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    const STYX: &str = "styx";
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    offered.any(|protocol| protocol.trim() == STYX).then_some(HeaderValue::from_static(STYX))
}

async fn read(request: &UpgradeRequest, mut headers: HeaderMap) -> Result<AcceptedUpgrade, Error> {
    let (app, log) = (request.app.clone(), &request.log);
    let params = request.read_params()?;
    let end = log.end_position();
    let from = log.seek(&params).await?;
    let there_is = if params.follow { u64::MAX } else { end.since(from) };
    let left = there_is.min(params.count.unwrap_or(u64::MAX));
    let config = &app.config;
    let sizes = [config.log_manager.read_buffer_size, config.websocket_write_buffer_size];
    let batch_bytes = sizes.into_iter().fold(BATCH_BYTES_MAX, usize::min);
    // A record is copied to its frame.
    let follower = params.follow.then(|| request.follower("websocket"));
    let reader = log.read(from, batch_bytes)?.with_copies(2).followed_by(follower);
    let chunks = app.sessions.response_budget().chunks();
    let consumer = WebSocketConsumer { reader, chunks, left, follow: params.follow };
    header::put_range(&mut headers, log.start_position(), end, log.archived_position());
    if !params.follow {
        headers.insert(header::NEXT_POSITION, header::of_position(from + left));
    }
    let ending = request.ending(Action::Read);
    Ok(AcceptedUpgrade::new(headers, move |socket| {
        let connection = connection(&app, socket, MessageDecoder::new(None));
        consumer.serve(connection, app, ending)
    }))
}

fn write(request: &UpgradeRequest, mut headers: HeaderMap) -> Result<AcceptedUpgrade, Error> {
    let (app, log) = (request.app.clone(), request.log.clone());
    log.check_appendable()?;
    if header::condition(&request.headers)? != Condition::default() {
        let message = "X-Styx-Expected-Position and X-Styx-Producer do not work over a \
                       WebSocket; use HTTP or styx/1";
        return Err(Error::new(Code::InvalidParams, message));
    }
    let acks = if request.flag("acks")? == Some(true) { Acks::Enabled } else { Acks::Disabled };
    let (start, end) = (log.start_position(), log.end_position());
    header::put_range(&mut headers, start, end, log.archived_position());
    let ending = request.ending(Action::Append);
    Ok(AcceptedUpgrade::new(headers, move |socket| {
        let decoder = MessageDecoder::new(Some(log.config().payload_bytes_max()));
        let connection = connection(&app, socket, decoder);
        let read_bytes_max = app.config.websocket_read_buffer_size;
        let read_bytes_max = read_bytes_max.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        WebSocketProducer::new(app, log, acks, read_bytes_max).serve(connection, ending)
    }))
}

fn connection(app: &Arc<App>, socket: Socket, decoder: MessageDecoder) -> WebSocketConnection {
    WebSocketConnection::new(socket, app.config.tcp_timeout, decoder)
}

/// The value that proves to the client that the server speaks WebSocket.
fn accept_key(request: &UpgradeRequest) -> Result<HeaderValue, Error> {
    let key = request.header(&SEC_WEBSOCKET_KEY).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES) {
        return Err(Error::invalid("Sec-WebSocket-Key", key, "16 bytes in base64"));
    }
    let accept = derive_accept_key(key.as_bytes());
    Ok(HeaderValue::from_str(&accept).expect("base64 is a valid header value"))
}

/// Whether a handshake begins a stream that writes.
pub(super) fn writes(is_write: bool, query: &str) -> Result<bool, Error> {
    match params::value(query, "mode").as_deref() {
        None => Ok(is_write),
        Some("write") => Ok(true),
        Some("read") if !is_write => Ok(false),
        Some(other) => {
            let accepted = "read or write; for a POST only write";
            Err(Error::invalid("mode", other, accepted))
        }
    }
}
