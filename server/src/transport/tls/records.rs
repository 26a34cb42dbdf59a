//! One step of rustls's unbuffered connection, and what is known of records without keys.

use bytes::{BufMut, BytesMut};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic,
};

/// The most plaintext in one record.
pub(super) const RECORD_BYTES: usize = 16 << 10;
/// The largest record with its header.
const RECORD_WIRE_BYTES_MAX: usize = RECORD_HEADER_BYTES + RECORD_BYTES + 2048;
const RECORD_HEADER_BYTES: usize = 5;
/// Ciphertext that is read at a time, without the overhead of its records.
const READ_BYTES_MAX: usize = 256 << 10;

pub(super) type ServerData = rustls::server::ServerConnectionData;

/// The result of a step of the connection.
pub(super) enum Step {
    /// Something was done; there may be more to do.
    Done,
    /// Nothing can be done until more arrives.
    Idle,
    PeerClosed,
}

/// Where decrypted bytes go: to the buffer as far as they fit, then to `rest`.
pub(super) struct Received<'a, B> {
    pub(super) buffer: &'a mut B,
    pub(super) room: usize,
    pub(super) rest: Option<BytesMut>,
}

impl<B: BufMut> Received<'_, B> {
    fn put(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.room));
        self.buffer.put_slice(first);
        self.room -= first.len();
        if !rest.is_empty() {
            self.rest.get_or_insert_default().extend_from_slice(rest);
        }
    }
}

/// Called with the state in which the connection can encrypt.
pub(super) type Ready<'a> = &'a mut dyn FnMut(&mut WriteTraffic<'_, ServerData>);

/// Handles one state of the connection. Returns the bytes of the input that are done.
pub(super) fn step<B: BufMut>(
    status: UnbufferedStatus<'_, '_, ServerData>,
    received: &mut Received<'_, B>,
    outgoing: &mut BytesMut,
    ready: Option<Ready<'_>>,
) -> (usize, Result<Step, rustls::Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    received.put(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Done),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(&mut data, outgoing);
            Ok(Step::Done)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Done)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            if let Some(ready) = ready {
                ready(&mut traffic);
            }
            Ok(Step::Idle)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Idle),
        Ok(_) => Err(rustls::Error::General("an unexpected state of the connection".to_owned())),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Appends a message of TLS itself to what is to be sent.
pub(super) fn encode(data: &mut EncodeTlsData<'_, ServerData>, outgoing: &mut BytesMut) {
    let begin = outgoing.len();
    let mut bytes = 0;
    while let Err(EncodeError::InsufficientSize(needed)) = {
        outgoing.resize(begin + bytes, 0);
        data.encode(outgoing.get_mut(begin..).unwrap_or_default())
    } {
        bytes = needed.required_size;
    }
}

/// Whether there is a whole record.
pub(super) fn starts_with_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, ..] => {
            bytes.len() >= RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

/// The ciphertext to read for a buffer of this size: enough to fill it, and at least one
/// record.
pub(super) fn read_bytes(room: usize) -> usize {
    let overhead = room / 256 + 64;
    (room + overhead).clamp(RECORD_WIRE_BYTES_MAX, READ_BYTES_MAX * 257 / 256)
}
