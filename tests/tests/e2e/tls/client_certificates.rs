//! Certificates of clients: off, optional and required.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use styx_tests::{Authority, Scratch, Settings, Signed, TestServer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

/// A server that accepts clients of `clients`.
fn server(clients: &Authority, client_auth: &str) -> TestServer {
    let scratch = Arc::new(Scratch::new("clients"));
    scratch.write("clients.pem", clients.certificate());
    let lines = format!("client_ca = \"DIRECTORY/clients.pem\"\n{client_auth}");
    Settings::default().tls_with(&lines).while_scanning().start_in(scratch).expect("it starts")
}

/// The status line of an answer to a client with this certificate; `None` if the server
/// refuses the client.
fn ask(server: &TestServer, identity: Option<&Signed>, is_tls12: bool) -> Option<String> {
    let mut roots = RootCertStore::empty();
    let authority = server.authority().certificate();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM")).expect("added");
    let versions = if is_tls12 { [&version::TLS12] } else { [&version::TLS13] };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Signed { certificate, key }) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
            )
            .expect("they match"),
    };
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a good configuration");
    let socket = TcpStream::connect(server.listener_address()).expect("it listens");
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"GET /logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().map(str::to_owned)
}

#[test]
fn client_certificates_are_required_optional_or_ignored() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let (good, bad) = (clients.client("ci"), others.client("ci"));
    let served = Some("HTTP/1.1 200 OK".to_owned());
    for (client_auth, without, with_bad) in [
        // A client_ca without client_auth means required.
        ("", false, false),
        ("client_auth = \"required\"", false, false),
        ("client_auth = \"optional\"", true, false),
        ("client_auth = \"off\"", true, true),
    ] {
        let server = server(&clients, client_auth);
        for is_tls12 in [false, true] {
            let case = format!("{client_auth:?}, TLS 1.2: {is_tls12}");
            let expected = |is_served: bool| served.clone().filter(|_| is_served);
            assert_eq!(ask(&server, Some(&good), is_tls12), served, "{case}");
            assert_eq!(ask(&server, None, is_tls12), expected(without), "{case}, without");
            assert_eq!(ask(&server, Some(&bad), is_tls12), expected(with_bad), "{case}, bad");
        }
    }
}

#[test]
fn certificate_of_a_server_is_not_one_of_a_client() {
    let clients = Authority::new("clients");
    let server = server(&clients, "");
    assert_eq!(ask(&server, Some(&clients.server()), false), None);
}
