//! Peers that do not finish a handshake, and peers that confuse ports with and without TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use styx_client::blocking::Client;
use styx_tests::{Connection, Request, Settings, TestServer, wait};

/// How long a handshake may take with `tcp_timeout = 2`.
const LIMIT: Duration = Duration::from_secs(2);
/// How much later a busy machine may notice it.
const LATE: Duration = Duration::from_secs(20);

/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT + LATE)).expect("a limit");
    stream
}

/// The beginning of a real ClientHello: it announces 512 bytes, of which 100 are there.
fn half_a_hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    bytes.resize(100, 0);
    bytes
}

#[test]
fn slow_and_half_open_handshakes_are_closed_after_the_time_limit() {
    let server = Settings::default().set("tcp_timeout = 2").tls().start();
    let address = server.listener_address();
    let begun = Instant::now();
    let silent = connect(address);
    let mut half = connect(address);
    half.write_all(&half_a_hello()).expect("sent");
    let mut slow = connect(address);
    let dribble = std::thread::spawn({
        let mut slow = slow.try_clone().expect("a handle");
        move || {
            for byte in half_a_hello() {
                if slow.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    for (name, stream) in [("silent", &silent), ("half", &half), ("slow", &mut slow)] {
        let mut stream = stream;
        // A reset is an end too.
        let ended = stream.read(&mut [0; 100]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{name}: {ended:?}");
        let after = begun.elapsed();
        assert!(after >= LIMIT - Duration::from_millis(100), "{name}: {after:?}");
        assert!(after < LIMIT + LATE, "{name}: {after:?}");
    }
    dribble.join().expect("no panic");
    assert_eq!(server.ask(&Request::get("/health/live")).status(), 200);
}

/// Peers that connect and send nothing are closed when others need their places.
#[test]
fn unfinished_handshakes_make_room_for_other_connections() {
    let server = Settings::default().set("max_connections = 8").tls().start();
    let address = server.listener_address();
    let _silent: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    // Each of them may be silent for a second.
    wait::until_true("a request is served", PATIENCE, || {
        let answer = Connection::try_open(server.address())
            .and_then(|mut connection| connection.exchange(&Request::get("/logs")));
        answer.is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn plain_request_at_a_port_with_tls_is_answered_with_advice() {
    let server = Settings::default().tls().start();
    let mut connection = Connection::open(server.listener_address());
    let answer = connection.exchange(&Request::get("/version")).expect("an answer");
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.code(), "invalid_params");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(body.contains("use https:// or styxs://"), "{body}");
    let url = format!("styx://{}", server.listener_address());
    let error = Client::builder(&url).connect().expect_err("no TLS");
    assert!(error.message().contains("https://"), "{error}");
    let is_logged = || server.log().contains("a request without TLS");
    wait::until_true("the log has a line", PATIENCE, is_logged);
}

#[test]
fn tls_at_a_port_without_it_is_an_error_with_advice_on_both_sides() {
    let server = TestServer::start();
    let url = format!("styxs://{}", server.address());
    let error = Client::builder(&url).connect().expect_err("no TLS");
    assert!(error.message().contains("does not speak TLS"), "{error}");
    let is_logged = || server.log().contains("a port without TLS");
    wait::until_true("the log has a line", PATIENCE, is_logged);
    assert_eq!(server.ask(&Request::get("/version")).status(), 200);
}
