//! Certificates of clients: off, optional and required.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use styx_tests::{
    Authority, Request, Scratch, Settings, Signed, TestServer, styx1, tokens, websocket,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

/// A server that accepts clients of `clients`.
fn server(clients: &Authority, client_auth: &str) -> TestServer {
    server_in(Arc::new(Scratch::new("clients")), clients, client_auth)
}

fn server_in(scratch: Arc<Scratch>, clients: &Authority, client_auth: &str) -> TestServer {
    scratch.write("clients.pem", clients.certificate());
    let lines = format!("client_ca = \"DIRECTORY/clients.pem\"\n{client_auth}");
    Settings::default().tls_with(&lines).while_scanning().start_in(scratch).expect("it starts")
}

/// The status line of an answer to a client with this certificate; `None` if the server
/// refuses the client.
fn ask(server: &TestServer, identity: Option<&Signed>, is_tls12: bool) -> Option<String> {
    send(server, identity, is_tls12, &Request::get("/logs"))
}

fn send(
    server: &TestServer,
    identity: Option<&Signed>,
    is_tls12: bool,
    request: &Request,
) -> Option<String> {
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
    stream.write_all(&request.bytes()).ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        answer.extend(byte);
    }
    Some(String::from_utf8_lossy(&answer).trim_end().to_owned())
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

/// The subject of a certificate is a principal, with the grants of its token, on every protocol.
#[test]
fn subject_of_a_client_certificate_is_a_principal() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let scratch = Arc::new(Scratch::new("principals"));
    let data = scratch.join("data");
    for (name, grant) in [("admin", "admin:*"), ("reader", "read:a"), ("writer", "append:a")] {
        let subject = format!("O=Example\\, Inc.,CN={name}");
        let create = ["create", "--name", name, "--allow", grant, "--certificate", &subject];
        assert_eq!(tokens::token(&data, &create).code, 0);
    }
    let of = |name: &str| Some(clients.client(name));
    let create = Request::post("/logs").form("name=a");
    for (client_auth, created, without) in
        [("optional", "HTTP/1.1 200 OK", Some(401)), ("required", "HTTP/1.1 409 Conflict", None)]
    {
        let line = format!("client_auth = {client_auth:?}");
        let server = server_in(scratch.clone(), &clients, &line);
        // An administrator creates the log once.
        let answer = send(&server, of("admin").as_ref(), false, &create);
        assert_eq!(answer.as_deref(), Some(created), "{}", server.log());
        for (request, done) in [
            (Request::get("/logs/a/records"), 200),
            (websocket::handshake("/logs/a/records"), 101),
            (styx1::consume_request("a", ""), 101),
        ] {
            for (name, identity, expected) in [
                ("with the grant", of("reader"), Some(done)),
                ("with another grant", of("writer"), Some(403)),
                ("without grants", of("unknown"), Some(401)),
                ("of another authority", Some(others.client("reader")), None),
                ("none", None, without),
            ] {
                let answer = send(&server, identity.as_ref(), false, &request);
                let status = answer.as_deref().and_then(|line| line.split(' ').nth(1));
                let status = status.map(|status| status.parse::<u16>().expect("a number"));
                assert_eq!(status, expected, "{client_auth}, {name}: {request:?}");
            }
        }
    }
}
