//! [`handshake`]: the beginning of an encrypted connection, until both sides have keys.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::records::encode;
use super::session::Session;
use crate::transport::PlainSocket;

/// The most bytes of a handshake that are kept: enough for a chain of certificates.
const INCOMING_BYTES_MAX: usize = 128 << 10;
const READ_BYTES: usize = 4 << 10;
/// The first byte of a TLS connection.
const HANDSHAKE_RECORD: u8 = 22;

/// Why a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer sent a request of plain HTTP.
    #[error("a request without TLS arrived at a port with TLS")]
    PlainHttp,
    /// The peer sent something that is neither TLS nor HTTP.
    #[error("the peer speaks neither TLS nor HTTP")]
    NotTls,
    /// The peer has closed the connection.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// It does not end.
    #[error("the TLS handshake is longer than {INCOMING_BYTES_MAX} bytes")]
    TooLong,
    #[error("TLS handshake: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Agrees on keys with the peer. Nothing of it takes longer than the peer; the caller
/// sets the limit. Cancel safe only if the connection is then closed.
///
/// # Errors
/// See [`HandshakeError`]. An alert has been sent if TLS demands one.
pub(crate) async fn handshake(
    socket: &PlainSocket,
    config: Arc<ServerConfig>,
) -> Result<Session, HandshakeError> {
    let mut connection = UnbufferedServerConnection::new(config)?;
    let (mut incoming, mut outgoing, mut plain) = (Vec::new(), BytesMut::new(), BytesMut::new());
    let mut is_peer_closed = false;
    loop {
        let UnbufferedStatus { mut discard, state, .. } =
            connection.process_tls_records(&mut incoming);
        let mut is_blocked = false;
        match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut outgoing),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::BlockedHandshake) => is_blocked = true,
            // A request in the same packet as the end of the handshake.
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::WriteTraffic(_)) => {
                incoming.drain(..discard.min(incoming.len()));
                send(socket, &mut outgoing).await?;
                return Ok(Session::new(connection, incoming, plain.freeze(), is_peer_closed));
            }
            // It has asked everything, and waits for the answers.
            Ok(ConnectionState::PeerClosed) => is_peer_closed = true,
            Ok(_) => return Err(HandshakeError::Closed),
            Err(error) => {
                alert(&mut connection, &mut outgoing);
                // If the kernel takes no alert, the peer learns nothing.
                let _ = socket.try_write(&outgoing);
                return Err(error.into());
            }
        }
        incoming.drain(..discard.min(incoming.len()));
        if is_blocked {
            send(socket, &mut outgoing).await?;
            receive(socket, &mut incoming).await?;
        }
    }
}

/// Encodes the alert about a failure.
fn alert(connection: &mut UnbufferedServerConnection, outgoing: &mut BytesMut) {
    let mut nothing = [];
    while let Ok(ConnectionState::EncodeTlsData(mut data)) =
        connection.process_tls_records(&mut nothing).state
    {
        encode(&mut data, outgoing);
    }
}

async fn send(socket: &PlainSocket, outgoing: &mut BytesMut) -> io::Result<()> {
    while !outgoing.is_empty() {
        socket.writable().await?;
        match socket.try_write(outgoing) {
            Ok(count) => drop(outgoing.split_to(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn receive(socket: &PlainSocket, incoming: &mut Vec<u8>) -> Result<(), HandshakeError> {
    let held = incoming.len();
    if held >= INCOMING_BYTES_MAX {
        return Err(HandshakeError::TooLong);
    }
    let is_first = held == 0;
    loop {
        socket.readable().await?;
        incoming.resize(held + READ_BYTES, 0);
        let read = socket.try_read(incoming.get_mut(held..).unwrap_or_default());
        incoming.truncate(held + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(_) if is_first => return check_first(incoming),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Checks that a message of TLS begins, because TLS has no words for a peer that does
/// not speak it.
fn check_first(bytes: &[u8]) -> Result<(), HandshakeError> {
    match bytes.first() {
        Some(first) if first.is_ascii_uppercase() => Err(HandshakeError::PlainHttp),
        // Later messages may be alerts or others.
        Some(&(20..=23)) => Ok(()),
        _ => Err(HandshakeError::NotTls),
    }
}

/// Whether a peer that was expected to speak HTTP begins a TLS handshake.
pub(crate) fn begins_tls(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE_RECORD) && bytes.get(1).is_none_or(|major| *major == 3)
}
