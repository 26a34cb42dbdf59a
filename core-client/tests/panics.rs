//! A panic of a client's background task becomes an error of the calls that depend on it.
//!
//! The panics come from a `tracing` subscriber, which the client's tasks call. It panics at
//! every event of a module that the test chooses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use styx_client::Error;
use styx_client::blocking::{Client, wait_for};
use tracing::span;
use tracing::subscriber::Subscriber;

const PATIENCE: Duration = Duration::from_secs(60);

/// Panics at every event of one module.
struct Panics;

/// The module.
static MODULE: Mutex<&str> = Mutex::new("");

impl Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let module = event.metadata().module_path().unwrap_or_default();
        let is_chosen = module == *lock(&MODULE);
        assert!(!is_chosen, "boom in {module}");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, events of this module panic. The tests share the subscriber, so they run one
/// after the other, as long as they keep the guard.
fn panics_in(module: &'static str) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static ONCE: Once = Once::new();
    let turn = lock(&TURN);
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Panics).expect("the only subscriber");
    });
    *lock(&MODULE) = module;
    turn
}

/// A peer that calls `serve` with every connection, after its request.
fn peer(serve: impl Fn(TcpStream, String) + Send + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            serve(stream, String::from_utf8(head).expect("text"));
        }
    });
    Client::builder(&address).build().expect("good options")
}

/// Accepts a producer or a consumer, and closes the connection at once.
fn accept_and_close(mut stream: TcpStream, _: String) {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: styx/1\r\n\
                  X-Styx-Log-Id: 000102030405060708090a0b0c0d0e0f\r\nX-Styx-Timeout: 30\r\n\
                  X-Styx-Max-Block-Size: 1048576\r\nX-Styx-Max-In-Flight-Blocks: 128\r\n\
                  X-Styx-Epoch: 1\r\nX-Styx-Start-Position: 0\r\nX-Styx-End-Position: 0\r\n\
                  X-Styx-Position: 0\r\n\r\n";
    stream.write_all(answer.as_bytes()).expect("the client reads");
}

#[track_caller]
fn check(error: &Error, module: &str) {
    assert_eq!((error.code(), error.is_retriable()), ("panicked", false), "{error}");
    assert!(error.message().contains(&format!("boom in {module}")), "{error}");
}

/// There is no connection whose task could panic: no peer listens.
#[test]
fn open_of_a_consumer_reports_a_panic_of_its_task() {
    const TASK: &str = "styx_client::consumer::task";
    let _turn = panics_in(TASK);
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound").to_string()
    };
    let client = Client::builder(&address).build().expect("good options");
    check(&client.consumer("a").open().expect_err("its task panicked"), TASK);
}

#[test]
fn calls_of_a_consumer_report_a_panic_of_its_task() {
    const TASK: &str = "styx_client::consumer::task";
    let _turn = panics_in(TASK);
    let client = peer(accept_and_close);
    let mut consumer = client.consumer("a").follow(true).open().expect("accepted");
    for _ in 0..2 {
        let polled = consumer.poll(PATIENCE).map(drop);
        check(&polled.expect_err("its task panicked"), TASK);
    }
}

#[test]
fn calls_of_a_producer_report_a_panic_of_its_task() {
    const TASK: &str = "styx_client::producer::task";
    let _turn = panics_in(TASK);
    let client = peer(accept_and_close);
    let producer = client.producer("a").open().expect("accepted");
    let sent = wait_for(pin!(producer.as_async().send(b"x")), PATIENCE).expect("it ends");
    check(&sent.expect_err("its task panicked"), TASK);
    let flushed = wait_for(pin!(producer.as_async().flush()), PATIENCE).expect("it ends");
    check(&flushed.expect_err("its task panicked"), TASK);
}

/// The task that drives an HTTP connection. The client's threads continue after the panic.
#[test]
fn calls_report_a_panic_of_their_connection() {
    const TASK: &str = "styx_client::transport::http";
    let _turn = panics_in(TASK);
    let client = peer(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
    });
    for _ in 0..2 {
        check(&client.list_logs().expect_err("its connection panicked"), TASK);
    }
    check(&client.check().expect_err("its connection panicked"), TASK);
    check(&client.producer("a").open().expect_err("its connection panicked"), TASK);
    check(&client.consumer("a").open().expect_err("its connection panicked"), TASK);
    *lock(&MODULE) = "";
    assert_eq!(client.list_logs().expect("an answer"), []);
}

/// The task that stores the positions of a consumer in its cursor.
#[test]
fn commits_report_a_panic_of_their_task() {
    const TASK: &str = "styx_client::consumer::cursor::task";
    let _turn = panics_in(TASK);
    let (reads, changes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = peer(move |mut stream, head| {
        let cursor = |version: usize| {
            let log = "000102030405060708090a0b0c0d0e0f";
            let json = format!(
                r#"{{"cursor":"c","log_id":"{log}","position":0,"updated":0,"version":{version}}}"#
            );
            response("200 OK", &json)
        };
        let answer = if head.starts_with("GET /logs/a/cursors/c ") {
            cursor(1)
        } else if head.starts_with("PUT ") {
            let _ = stream.read(&mut [0; 1024]);
            match changes.fetch_add(1, Ordering::SeqCst) {
                0 => cursor(2),
                _ => {
                    response("412 Precondition Failed", r#"{"code":"cursor_taken","message":"m"}"#)
                }
            }
        } else {
            let position = 5 * reads.fetch_add(1, Ordering::SeqCst);
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: styx/1\r\n\
                 X-Styx-Log-Id: 000102030405060708090a0b0c0d0e0f\r\nX-Styx-Timeout: 30\r\n\
                 X-Styx-Start-Position: 0\r\nX-Styx-End-Position: 10\r\n\
                 X-Styx-Position: {position}\r\n\r\n"
            )
        };
        stream.write_all(answer.as_bytes()).expect("the client reads");
        std::mem::forget(stream);
    });
    let mut consumer = client.consumer("a").cursor("c").follow(true).open().expect("accepted");
    consumer.seek(5).expect("accepted");
    let commit = consumer.commit().expect("it is requested");
    check(&commit.position().expect_err("the task panicked"), TASK);
    check(&consumer.commit().map(drop).expect_err("the task has ended"), TASK);
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
