//! One connection: HTTP/1.1 or HTTP/2, until it ends, the server stops, or a front
//! end takes it over.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use styx_protocol::Code;

use super::admission::{SILENCE_MAX, Seat};
use super::stream_executor::{ResponseProgress, StreamExecutor};
use super::tracked_body::TrackedBody;
use super::watched_socket::{Beginning, Limits, WatchedSocket};
use super::{handshake, refusal};
use crate::auth::{CredentialCache, HeldLease};
use crate::certificates::Certificates;
use crate::handover::{PendingUpgrade, Socket, UpgradeSlot};
use crate::http::{Answer, Http};
use crate::session::Error;
use crate::transport::{ConnectionInfo, PeerAddress, PlainSocket, Transport};

/// How long a request's head may take to arrive, if `tcp_timeout` is not shorter.
const HEADER_TIME_MAX: Duration = Duration::from_secs(20);
/// The same for a connection beyond the limit.
const HEADER_TIME_MAX_BEYOND: Duration = Duration::from_secs(5);
/// Largest request head. It has at most 100 headers, hyper's limit.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// Bounds of the buffer for a body's bytes, and of an answer's bytes that wait to be
/// sent.
const BUFFER_BYTES_MIN: usize = HEADER_BYTES_MAX + 8192;
const BUFFER_BYTES_MAX: usize = 256 << 10;
const HTTP2_STREAMS_MAX: u32 = 200;
const HTTP2_PING_AFTER: Duration = Duration::from_secs(30);

/// Serves the connection in HTTP, and then in the protocol that it is upgraded to.
pub(super) async fn serve(
    http: Arc<Http>,
    socket: PlainSocket,
    peer: PeerAddress,
    certificates: Option<Arc<Certificates>>,
    seat: Arc<Seat>,
) {
    let (transport, client_subject) = match certificates {
        None => (Transport::Plain(socket), None),
        // Boxed, so that a served connection does not keep its memory.
        Some(certificates) => {
            let opened = Box::pin(handshake::open(&http, socket, &certificates, &seat)).await;
            let Some((tls, subject)) = opened else { return };
            (Transport::Tls(Box::new(tls)), subject)
        }
    };
    let is_tls = matches!(transport, Transport::Tls(_));
    let info = Arc::new(ConnectionInfo { peer, is_tls, client_subject });
    let slot = UpgradeSlot::default();
    // Boxed, so that an upgraded connection does not keep its memory.
    if let Err(error) = Box::pin(serve_http(&http, transport, info, &slot, &seat)).await {
        // A peer may disconnect at any time; the reason is in the error's source.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::debug!(cause, "a connection ended: {error}");
    }
    if let Some(upgrade) = slot.take() {
        seat.is_upgraded();
        hand_over(&http, upgrade).await;
    }
}

async fn hand_over(http: &Http, upgrade: PendingUpgrade) {
    let PendingUpgrade { protocol, on_upgrade, serve } = upgrade;
    let upgraded = match on_upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(protocol, "a connection ended before it was upgraded: {error}");
            return;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<WatchedSocket>>() else {
        tracing::error!(protocol, "cannot hand over a connection: its socket has an unknown type");
        return;
    };
    let (transport, replay) = parts.io.into_inner().into_parts();
    let received = joined(replay, parts.read_buf);
    let streams = http.app.metrics.streams(protocol);
    streams.inc();
    let _counted = StreamCount(streams);
    serve(Socket { transport, received }).await;
}

/// Counts a stream in its gauge until it is dropped.
struct StreamCount(prometheus::IntGauge);

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        // A slice of hyper's buffer would keep all of it in memory.
        return Bytes::copy_from_slice(&second);
    }
    let mut both = BytesMut::from(first);
    both.extend_from_slice(&second);
    both.freeze()
}

async fn serve_http(
    http: &Arc<Http>,
    transport: Transport,
    info: Arc<ConnectionInfo>,
    slot: &UpgradeSlot,
    seat: &Arc<Seat>,
) -> Result<(), hyper::Error> {
    let app = &http.app;
    let config = &app.config;
    let header_time_max = if seat.is_admitted() { HEADER_TIME_MAX } else { HEADER_TIME_MAX_BEYOND };
    let limits = Limits {
        header_time: config.tcp_timeout.min(header_time_max),
        idle_time: config.idle_timeout,
        stall_time: config.tcp_timeout,
    };
    let activity = seat.activity().clone();
    let mut socket = WatchedSocket::new(transport, activity.clone(), limits);
    let credentials = CredentialCache::new(info.clone());
    let held_lease = HeldLease::default();
    let beginning = tokio::select! {
        beginning = socket.beginning() => beginning,
        () = app.shutdown.ends_silent(activity.opened()) => return Ok(()),
        () = must_leave_silent(seat) => {
            if !seat.is_admitted() {
                seat.refused();
                refusal::refuse(&socket.into_parts().0);
            }
            return Ok(());
        }
    };
    let begins_http2 = match beginning {
        Ok(Beginning::Http2) => true,
        Ok(Beginning::Http1) => false,
        Ok(Beginning::Tls) => {
            handshake::refuse_tls(app, &socket.into_parts().0, seat).await;
            return Ok(());
        }
        Err(error) => {
            tracing::debug!("a connection ended before its first request: {error}");
            return Ok(());
        }
    };
    let request_seat = seat.clone();
    let service = service_fn({
        let (http, activity, slot) = (http.clone(), activity.clone(), slot.clone());
        let held_lease = held_lease.clone();
        let half_close = socket.half_close();
        move |mut request: http::Request<_>| {
            let (http, request_guard) = (http.clone(), activity.begin());
            let beyond = (!request_seat.is_admitted()).then(|| request_seat.clone());
            request.extensions_mut().insert(info.clone());
            request.extensions_mut().insert(credentials.clone());
            if !begins_http2 {
                request.extensions_mut().insert(slot.clone());
                request.extensions_mut().insert(half_close.clone());
            }
            let of_connection = held_lease.clone();
            async move {
                // An HTTP/2 stream has its own, because others may have other tokens.
                let stream = ResponseProgress::of_this_task();
                let held_lease = stream.map_or(of_connection, |stream| stream.held_lease());
                held_lease.release();
                request.extensions_mut().insert(held_lease);
                let answer = match beyond {
                    None => http.serve(request).await,
                    // Boxed, so that other requests need no memory for it.
                    Some(seat) => Box::pin(serve_beyond_limit(http, request, &seat)).await,
                };
                Ok::<_, Infallible>(TrackedBody::of(answer, request_guard))
            }
        }
    });
    let buffer_bytes = config.http_read_buffer_size.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
    if begins_http2 {
        activity.set_http2();
        let mut builder = hyper::server::conn::http2::Builder::new(StreamExecutor::new(
            config.tcp_timeout,
            &app.auth,
        ));
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_PING_AFTER)
            .keep_alive_timeout(config.tcp_timeout);
        // Boxed, so that HTTP/1.1 connections need no memory for it.
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(socket), service));
        return tokio::select! {
            // First, so that a request which has arrived is answered.
            biased;
            ended = connection.as_mut() => ended,
            () = must_end(http, seat) => {
                if seat.is_silent() {
                    return Ok(());
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        // `WatchedSocket` does this, and distinguishes idle connections from slow heads.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        // A peer may close its sending side after its requests and still gets its answers.
        .half_close(true)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(buffer_bytes);
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection.with_upgrades());
    tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = held_lease.must_end(&app.auth) => Ok(()),
        () = must_end(http, seat) => {
            if seat.is_silent() {
                return Ok(());
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Resolves when the connection must end after its current requests.
async fn must_end(http: &Http, seat: &Seat) {
    tokio::select! {
        () = http.app.shutdown.begun() => {}
        () = seat.must_leave() => {}
    }
}

/// Resolves when a connection that has sent nothing must end.
pub(super) async fn must_leave_silent(seat: &Seat) {
    if seat.is_admitted() {
        return seat.must_leave().await;
    }
    let _ = tokio::time::timeout(SILENCE_MAX, seat.must_leave()).await;
}

/// Answers a request on a connection beyond the limit: about health and metrics as
/// always, others only if an idle connection makes room.
async fn serve_beyond_limit(http: Arc<Http>, request: Request<Incoming>, seat: &Seat) -> Answer {
    seat.speaks();
    let version = request.version();
    let mut answer = if Http::is_monitoring(&request) {
        http.serve(request).await
    } else if seat.admit().await {
        return http.serve(request).await;
    } else {
        http.refuse(request, Error::new(Code::Overloaded, refusal::MESSAGE))
    };
    if version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    } else {
        seat.leave();
    }
    answer
}
