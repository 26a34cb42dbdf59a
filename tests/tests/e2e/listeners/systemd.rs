//! What systemd gives to a server and hears from it: sockets, readiness, signs of life.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use styx_client::blocking::Client;
use styx_tests::api::write_one;
use styx_tests::service_manager::ServiceManager;
use styx_tests::{Connection, Request, Scratch, Settings, binary, wait};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn restart_with_a_passed_socket_refuses_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let mut server = Settings::default().passed(socket).start();
    assert_eq!(server.address(), address, "the configured address is not bound");
    server.create("a");
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let end = wait::SetOnDrop(&over);
        let client = || {
            while !over.load(Ordering::Relaxed) {
                let answer = Connection::open(address).exchange(&write_one("a", "x"));
                let answer = answer.unwrap_or_else(|e| panic!("a connection was lost: {e}"));
                // The logs of the next process may still be opening.
                assert!([200, 503].contains(&answer.status()), "{}", answer.shown());
                served.fetch_add(u64::from(answer.status() == 200), Ordering::Relaxed);
            }
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        for _ in 0..4 {
            let before = served.load(Ordering::Relaxed);
            wait::until_true("requests", PATIENCE, || {
                clients.iter().any(|client| client.is_finished())
                    || served.load(Ordering::Relaxed) > before + 20
            });
            let stopped = server.stop();
            assert!(stopped.status.success(), "{stopped:?}");
            server.restart();
        }
        drop(end);
    });
    let acked = served.load(Ordering::Relaxed);
    assert_eq!(server.read_all("a").len() as u64, acked, "each answer counts");
}

/// Runs a server with two sockets: the first is its standard input, the second its standard
/// output.
fn with_two_sockets(
    names: &str,
    first: impl Into<OwnedFd>,
    second: impl Into<OwnedFd>,
    scratch: &Scratch,
) -> std::process::Child {
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
                  export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(binary::styx()).args(["serve", "--exit-with-parent"]);
    command.env("LISTEN_FDNAMES", names).current_dir(scratch.path());
    command.stdin(Stdio::from(first.into())).stdout(Stdio::from(second.into()));
    command.stderr(Stdio::piped()).spawn().expect("it can be started")
}

#[test]
fn passed_sockets_are_used_by_their_names() {
    let scratch = Scratch::new("names");
    let main = UnixListener::bind(scratch.join("main.sock")).expect("a new path");
    let admin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = admin.local_addr().expect("it is bound");
    let url = format!("unix://{}", scratch.join("main.sock").display());
    let mut server = with_two_sockets("styx:admin", main, admin, &scratch);
    let client = Client::connect(&url).expect("connections wait until the server accepts them");
    client.create_log("a", styx_client::LogConfig::default(), false).expect("the whole API");
    let ask = |path: &str| Connection::open(address).exchange(&Request::get(path));
    assert_eq!(ask("/metrics").expect("an answer").status(), 200);
    assert_eq!(ask("/logs").expect("an answer").status(), 404);
    server.kill().expect("killed");
    server.wait().expect("it ends");
    assert!(scratch.join("main.sock").exists(), "the socket belongs to systemd");
}

#[test]
fn passed_socket_that_cannot_be_used_is_refused_with_advice() {
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for (names, second, part) in [
        ("styx:web", listener(), "FileDescriptorName="),
        ("styx:admin", OwnedFd::from(datagrams), "not a listening stream socket"),
    ] {
        let scratch = Scratch::new("refused");
        let server = with_two_sockets(names, listener(), second, &scratch);
        let done = server.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{error}");
        assert!(error.contains(part) && error.contains("socket 2"), "{error}");
    }
}

#[test]
fn sockets_that_are_meant_for_another_process_are_ignored() {
    let settings = Settings::default().variable("LISTEN_PID", "1").variable("LISTEN_FDS", "1");
    let server = settings.start();
    server.create("a");
}

#[test]
fn service_manager_hears_that_the_server_is_ready_and_that_it_stops() {
    let manager = ServiceManager::start();
    let mut server = manager.settings().start();
    let before = manager.expect("READY=1");
    assert!(before.iter().all(|message| message.contains("EXTEND_TIMEOUT_USEC=")), "{before:?}");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    manager.expect("STOPPING=1");
    assert_eq!(manager.message(Duration::from_millis(1)), None);
}

/// `Type=notify-reload`: systemd waits for the second READY=1, and compares the time with that of
/// its own signal.
#[test]
fn service_manager_hears_that_the_server_reloads_on_sighup() {
    let manager = ServiceManager::start();
    let server = manager.settings().tls().start();
    manager.expect("READY=1");
    let monotonic = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).expect("after the boot")
    };
    for _ in 0..2 {
        let before = monotonic();
        server.tell(rustix::process::Signal::HUP);
        let message = manager.message(PATIENCE).expect("a message");
        let lines: Vec<&str> = message.lines().collect();
        assert!(lines.contains(&"RELOADING=1"), "{message}");
        let time = lines.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let time: u64 = time.and_then(|time| time.parse().ok()).expect("a time");
        assert!((before..=monotonic()).contains(&time), "{before} {time}");
        assert_eq!(manager.expect("READY=1"), [""; 0]);
    }
}

#[test]
fn server_sends_signs_of_life_until_it_hangs() {
    let manager = ServiceManager::start();
    let server = manager.settings().variable("WATCHDOG_USEC", "100000").start();
    manager.expect("READY=1");
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
    server.pause();
    // The messages from before the pause.
    while manager.message(Duration::from_millis(200)).is_some() {}
    assert_eq!(
        manager.message(Duration::from_secs(1)),
        None,
        "a sign of life of a stopped process"
    );
    server.resume();
    manager.expect("WATCHDOG=1");
}

#[test]
fn watchdog_of_another_process_is_ignored() {
    let manager = ServiceManager::start();
    let settings = manager.settings().variable("WATCHDOG_USEC", "100000");
    let _server = settings.variable("WATCHDOG_PID", "1").start();
    manager.expect("READY=1");
    assert_eq!(manager.message(Duration::from_millis(500)), None);
}

/// A manager that is gone must not stop the server.
#[test]
fn server_without_its_service_manager_continues() {
    let manager = ServiceManager::start();
    let settings = manager.settings();
    drop(manager);
    let server = settings.start();
    server.create("a");
    let shared = Arc::clone(server.scratch());
    wait::until_true("the warning", PATIENCE, || server.log().contains("NOTIFY_SOCKET"));
    drop((server, shared));
}
