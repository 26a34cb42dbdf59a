//! [`open`]: the TLS handshake of a new connection, and answers for peers that confuse
//! ports with and without TLS.
//!
//! Invariant: a peer that does not finish its handshake costs no more than one that
//! sends no request: it is closed after a time limit, and earlier if another connection
//! needs its place.

use std::sync::Arc;
use std::time::Duration;

use super::admission::{SILENCE_MAX, Seat};
use super::connection::must_leave_silent;
use super::refusal;
use crate::app::App;
use crate::certificates::{self, Certificates};
use crate::http::Http;
use crate::peer::{self, CloseLimits};
use crate::transport::{HandshakeError, PlainSocket, Tls, Transport, handshake};

/// How long a handshake may take, if `tcp_timeout` is not shorter.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Agrees on keys with the peer. Returns the encrypted stream and the subject of the
/// peer's certificate; `None` if the connection has ended.
pub(super) async fn open(
    http: &Http,
    socket: PlainSocket,
    certificates: &Certificates,
    seat: &Seat,
) -> Option<(Tls, Option<Arc<str>>)> {
    let app = &http.app;
    let time_max = app.config.tcp_timeout.min(TIME_MAX);
    let done = tokio::select! {
        done = tokio::time::timeout(time_max, handshake(&socket, certificates.current())) => done,
        () = app.shutdown.begun() => return None,
        () = must_leave_silent(seat) => {
            if !seat.is_admitted() {
                seat.refused();
            }
            return None;
        }
    };
    match done {
        Ok(Ok(session)) => {
            let certificate = session.connection().peer_certificates().and_then(<[_]>::first);
            let subject = certificate.and_then(|certificate| certificates::subject(certificate));
            Some((Tls::new(socket, session), subject))
        }
        Ok(Err(error)) => {
            note_failure(seat, &error.to_string());
            if matches!(error, HandshakeError::PlainHttp) {
                let transport = Transport::Plain(socket);
                answer(app, &transport, refusal::NEEDS_TLS).await;
            }
            None
        }
        Err(_) => {
            let seconds = time_max.as_secs();
            note_failure(seat, &format!("the TLS handshake did not end within {seconds} s"));
            None
        }
    }
}

/// Answers a peer that begins a TLS handshake at a port without TLS.
pub(super) async fn refuse_tls(app: &App, transport: &Transport, seat: &Seat) {
    note_failure(
        seat,
        "a TLS handshake arrived at a port without TLS; set tls.certificate and tls.key, or use http:// or styx://",
    );
    // Most programs for TLS recognise that this is none, and say so.
    answer(app, transport, refusal::HAS_NO_TLS).await;
}

fn note_failure(seat: &Seat, why: &str) {
    match seat.note_handshake_failure() {
        Some(failures) => {
            tracing::info!(failures, "a connection ended before its first request: {why}")
        }
        None => tracing::debug!("a connection ended before its first request: {why}"),
    }
}

async fn answer(app: &App, transport: &Transport, bytes: &[u8]) {
    // A peer that disconnects first is not an error.
    let _ = peer::close(transport, bytes, CloseLimits::silence(SILENCE_MAX), &app.shutdown).await;
}
