//! A peer with rustls's own client, on a thread that waits.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::{Tls, handshake};
use crate::peer::testing::connected_pair;
use crate::transport::{PlainSocket, Transport};

type Peer = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A connection after its handshake; `run` is the peer.
async fn with_peer<R: Send + 'static>(
    run: impl FnOnce(Peer) -> R + Send + 'static,
) -> (Transport, JoinHandle<R>) {
    with_hasty_peer(b"", run).await
}

/// As [`with_peer`]. The peer sends `first` in the same packet as the end of its handshake.
async fn with_hasty_peer<R: Send + 'static>(
    first: &'static [u8],
    run: impl FnOnce(Peer) -> R + Send + 'static,
) -> (Transport, JoinHandle<R>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("they match");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (peer, ours) = connected_pair().await;
    let peer = peer.into_std().expect("a socket");
    peer.set_nonblocking(false).expect("it can wait");
    let peer = std::thread::spawn(move || {
        let name = "localhost".try_into().expect("a name");
        let mut connection =
            ClientConnection::new(Arc::new(client), name).expect("a configuration");
        connection.writer().write_all(first).expect("kept until there are keys");
        let mut stream = StreamOwned::new(connection, peer);
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        run(stream)
    });
    let socket = PlainSocket::Tcp(ours);
    let session = handshake(&socket, Arc::new(server)).await.expect("a handshake");
    (Transport::Tls(Box::new(Tls::new(socket, session))), peer)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at * 31 % 251).expect("small")).collect()
}

/// Reads with buffers of this size until the peer has closed its side.
async fn read_to_end(transport: &Transport, buffer_bytes: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; buffer_bytes]);
    loop {
        transport.readable().await.expect("it is there");
        match transport.try_read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[tokio::test]
async fn reads_of_every_size_return_all_bytes_in_order() {
    for buffer_bytes in [1000, 16 << 10, 300_000] {
        let sent = bytes(700_000);
        let expected = sent.clone();
        let (transport, peer) = with_peer(move |mut peer| {
            peer.write_all(&sent).expect("it is read");
            peer.conn.send_close_notify();
            while peer.conn.wants_write() {
                peer.conn.write_tls(&mut peer.sock).expect("it is read");
            }
            peer
        })
        .await;
        assert!(read_to_end(&transport, buffer_bytes).await == expected, "{buffer_bytes}");
        assert!(transport.has_unread(), "an end counts as unread");
        drop(peer.join().expect("no panic"));
    }
}

/// Such a request was once not seen until more bytes arrived.
#[tokio::test]
async fn request_behind_the_handshake_is_read_without_further_bytes() {
    let (transport, peer) = with_hasty_peer(b"a request", |peer| peer).await;
    let peer = peer.join().expect("no panic");
    let mut buffer = [0; 100];
    let mut received = Vec::new();
    while received.len() < 9 {
        transport.readable().await.expect("it is there");
        let count = transport.try_read(&mut buffer).unwrap_or_default();
        received.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(received, b"a request");
    drop(peer);
}

#[tokio::test]
async fn writes_are_accepted_when_the_kernel_has_all_of_them() {
    let (transport, peer) = with_peer(|mut peer| {
        let (mut all, mut buffer) = (Vec::new(), [0; 5000]);
        loop {
            match peer.read(&mut buffer).expect("a clean end") {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    })
    .await;
    let Transport::Tls(tls) = &transport else { panic!("with TLS") };
    transport.socket().options().set_send_buffer_size(8 << 10).expect("an option");
    let sent = bytes(3_000_000);
    let (mut accepted, mut blocked) = (0, 0);
    while accepted < sent.len() {
        // Slices of other sizes at each attempt, but of the same bytes.
        let rest = &sent[accepted..];
        let (first, rest) = rest.split_at(rest.len().min(17 + blocked % 40_000));
        let (second, third) = rest.split_at(rest.len().min(3000));
        let slices = [first, second, third].map(IoSlice::new);
        match transport.try_write_vectored(&slices) {
            Ok(count) => {
                accepted += count;
                assert!(tls.session().has_sent_all(), "accepted before it was sent");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
                transport.writable().await.expect("it is there");
            }
        }
    }
    assert!(blocked > 10, "the socket was never full");
    while let Err(error) = transport.try_close_write() {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        transport.writable().await.expect("it is there");
    }
    let received = tokio::task::spawn_blocking(|| peer.join().expect("no panic")).await;
    assert!(received.expect("no panic") == sent);
}

#[tokio::test]
async fn idle_connection_keeps_no_buffer() {
    let (transport, peer) = with_peer(|mut peer| {
        peer.write_all(&bytes(100_000)).expect("it is read");
        let mut buffer = vec![0; 50_000];
        peer.read_exact(&mut buffer).expect("an answer");
        peer
    })
    .await;
    let (mut received, mut buffer) = (0, vec![0; 3000]);
    while received < 100_000 {
        transport.readable().await.expect("it is there");
        received += transport.try_read(&mut buffer).unwrap_or_default();
    }
    let answer = bytes(50_000);
    let mut sent = 0;
    while sent < answer.len() {
        transport.writable().await.expect("it is there");
        sent += transport.try_write(&answer[sent..]).unwrap_or_default();
    }
    drop(peer.join().expect("no panic"));
    let Transport::Tls(tls) = &transport else { panic!("with TLS") };
    assert_eq!(tls.session().kept_bytes(), 0);
    assert!(size_of::<Transport>() <= size_of::<PlainSocket>() + 8, "plain connections are small");
}

#[tokio::test]
async fn damaged_record_is_an_error_and_never_data() {
    let (transport, peer) = with_peer(|mut peer| {
        peer.write_all(b"good").expect("it is read");
        // An encrypted record that is none.
        let record = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
        peer.sock.write_all(&record).expect("it is read");
        // The server says why before it closes.
        peer.read(&mut [0; 10]).expect_err("an alert").to_string()
    })
    .await;
    let (mut received, mut buffer) = (Vec::new(), [0; 2]);
    let error = loop {
        transport.readable().await.expect("it is there");
        match transport.try_read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
    };
    assert_eq!((received.as_slice(), error.kind()), (&b"good"[..], ErrorKind::InvalidData));
    assert!(transport.try_write(b"x").is_err(), "nothing more is sent");
    assert!(peer.join().expect("no panic").contains("BadRecordMac"));
}

#[tokio::test]
async fn peer_that_closes_its_side_can_still_be_answered() {
    let (transport, peer) = with_peer(|mut peer| {
        peer.write_all(b"a question").expect("it is read");
        peer.conn.send_close_notify();
        peer.conn.write_tls(&mut peer.sock).expect("it is read");
        peer.sock.shutdown(std::net::Shutdown::Write).expect("a FIN");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("a clean end");
        answer
    })
    .await;
    assert_eq!(read_to_end(&transport, 100).await, b"a question");
    transport.writable().await.expect("it is there");
    assert_eq!(transport.try_write(b"an answer").expect("it is taken"), 9);
    transport.try_close_write().expect("it is taken");
    assert_eq!(peer.join().expect("no panic"), "an answer");
}
