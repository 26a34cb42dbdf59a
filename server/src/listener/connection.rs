//! One connection: HTTP/1.1 or HTTP/2, until it ends or the server stops.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::streams::Streams;
use super::tracked::Tracked;
use super::watched::{Limits, Watched};
use crate::http::App;

/// How long a request's head may take, if `tcp_timeout` is not shorter.
const HEADER_TIME_MAX: Duration = Duration::from_secs(20);
/// Bytes of a request's head. Its headers are at most 100, as hyper has it.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// Bytes of a body that are read at a time, and of an answer that wait to be
/// sent, at most.
const BUFFER_BYTES_MIN: usize = HEADER_BYTES_MAX + 8192;
const BUFFER_BYTES_MAX: usize = 256 << 10;
const HTTP2_STREAMS_MAX: u32 = 200;
const HTTP2_PING_AFTER: Duration = Duration::from_secs(30);

/// Serves requests on the connection.
pub(super) async fn serve(app: Arc<App>, stream: TcpStream) {
    let config = &app.config;
    let limits = Limits {
        header_time: config.tcp_timeout.min(HEADER_TIME_MAX),
        idle_time: config.idle_timeout,
        stall_time: config.tcp_timeout,
    };
    let activity = Activity::new();
    let mut socket = Watched::new(stream, activity.clone(), limits);
    let begins_http2 = tokio::select! {
        begins = socket.begins_http2() => begins,
        () = app.shutdown.begun() => return,
    };
    let service = service_fn({
        let (app, activity) = (app.clone(), activity.clone());
        move |request| {
            let (app, in_request) = (app.clone(), activity.begin());
            async move {
                let answer = app.serve(request).await;
                Ok::<_, Infallible>(answer.map(|body| Tracked::new(body, in_request)))
            }
        }
    });
    let buffer_bytes = config.http_read_buffer_size.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
    let ended = match begins_http2 {
        Err(error) => {
            tracing::debug!("a connection ended before its first request: {error}");
            return;
        }
        Ok(false) => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                // `Watched` does this, and knows idle connections from slow heads.
                .header_read_timeout(None)
                .timer(TokioTimer::new())
                .max_header_size(HEADER_BYTES_MAX)
                .max_buf_size(buffer_bytes);
            let connection = builder.serve_connection(TokioIo::new(socket), service);
            let mut connection = pin!(connection.with_upgrades());
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = app.shutdown.begun() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Ok(true) => {
            activity.set_http2();
            let mut builder =
                hyper::server::conn::http2::Builder::new(Streams::new(config.tcp_timeout));
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS_MAX)
                .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
                .keep_alive_interval(HTTP2_PING_AFTER)
                .keep_alive_timeout(config.tcp_timeout);
            // Boxed, so that the others need no room for it.
            let mut connection = Box::pin(builder.serve_connection(TokioIo::new(socket), service));
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = app.shutdown.begun() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        // Peers go away as they like; why is in the error's source.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::debug!(cause, "a connection ended: {error}");
    }
}
