//! `Handle::wakeup` in a signal handler.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::Context;
use std::time::Duration;

use styx_client::blocking::{Client, Consumer};
use styx_client::consumer::Polled;
use styx_signals::{Gate, gated_waker, handled, send, wake_on};
use styx_tests::{TestServer, wait};

const PATIENCE: Duration = Duration::from_secs(60);
/// Signals of the test under load.
const SIGNALS: u64 = 3_000;

fn client(server: &TestServer) -> Client {
    Client::connect(&format!("styx://{}", server.address())).expect("a server")
}

fn follow(server: &TestServer) -> (Client, Consumer) {
    let client = client(server);
    let consumer = client.consumer("a").follow(true).open().expect("opens");
    (client, consumer)
}

/// The thread is stopped while it holds the lock of the consumer's queue, and the handler
/// runs on it there. When `wakeup` took that lock, the thread waited for itself.
#[test]
fn signal_handler_on_a_thread_that_holds_the_lock_does_not_wait() {
    let server = TestServer::start();
    server.create("a");
    let client = client(&server);
    let opening = client.as_async().consumer("a").follow(true).open();
    let mut consumer = styx_client::blocking::wait(opening).expect("opens");
    wake_on(libc::SIGALRM, consumer.handle());
    let gate = Gate::leaked();
    let (stopped, is_stopped) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let waker = gated_waker(gate);
        let mut waiting = Box::pin(consumer.poll());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        stopped.send(polled.is_pending()).expect("waited for");
        styx_client::blocking::wait(waiting)
    });
    gate.wait_until_reached();
    send(libc::SIGALRM, &waiting);
    // The handler runs before the thread goes on, because the thread does nothing else.
    wait::until_true("the handler has run", PATIENCE / 2, || handled(libc::SIGALRM) == 1);
    gate.open();
    assert_eq!(is_stopped.recv_timeout(PATIENCE / 2), Ok(true), "its first poll ends");
    assert!(matches!(waiting.join().expect("no panic"), Ok(Polled::Nothing)), "it was woken");
}

/// The handler interrupts a thread that takes records at any instruction.
#[test]
fn wakeups_in_a_signal_handler_lose_no_record_and_never_hang() {
    let server = TestServer::start();
    server.create("a");
    let (client, mut consumer) = follow(&server);
    wake_on(libc::SIGUSR1, consumer.handle());
    let (calls, done): (&AtomicU64, &AtomicBool) =
        (Box::leak(Box::default()), Box::leak(Box::default()));
    let taking = std::thread::spawn(move || {
        let mut records = 0;
        while !done.load(Ordering::SeqCst) {
            match consumer.try_next_batch().expect("no error") {
                Polled::Batch(batch) => records += batch.len(),
                Polled::Nothing => {}
                Polled::End => panic!("the log has no end"),
            }
            calls.fetch_add(1, Ordering::SeqCst);
        }
        (consumer, records)
    });
    let producer = client.producer("a").open().expect("opens");
    for number in 0..SIGNALS {
        producer.append(&[7; 100]).expect("accepted");
        let before = calls.load(Ordering::SeqCst);
        send(libc::SIGUSR1, &taking);
        if number % 16 == 0 {
            wait::until_true("the consumer is called again", PATIENCE / 2, || {
                calls.load(Ordering::SeqCst) > before
            });
        }
    }
    producer.close().expect("durable");
    done.store(true, Ordering::SeqCst);
    let (mut consumer, mut records) = taking.join().expect("no panic");
    while records < SIGNALS as usize {
        if let Polled::Batch(batch) = consumer.poll(PATIENCE).expect("no error") {
            records += batch.len();
        }
    }
    assert_eq!(records, SIGNALS as usize, "each record once");
}

/// A thread waits in the blocking interface, then in a future. The handler runs on that
/// thread itself.
#[test]
fn signal_handler_wakes_the_thread_that_waits() {
    let server = TestServer::start();
    server.create("a");
    let (client, mut blocking) = follow(&server);
    wake_on(libc::SIGUSR2, blocking.handle());
    let waiting = std::thread::spawn(move || blocking.poll(PATIENCE));
    let woken = until_ended(libc::SIGUSR2, waiting);
    assert!(matches!(woken, Ok(Polled::Nothing)), "{woken:?}");

    let opening = client.as_async().consumer("a").follow(true).open();
    let mut consumer = styx_client::blocking::wait(opening).expect("opens");
    wake_on(libc::SIGURG, consumer.handle());
    let waiting = std::thread::spawn(move || styx_client::blocking::wait(consumer.poll()));
    let woken = until_ended(libc::SIGURG, waiting);
    assert!(matches!(woken, Ok(Polled::Nothing)), "{woken:?}");
}

/// Sends one signal after the thread had time to wait. If the thread was slower, the
/// wake-up counts for its next wait.
fn until_ended<T>(signal: i32, waiting: std::thread::JoinHandle<T>) -> T {
    std::thread::sleep(Duration::from_millis(20));
    send(signal, &waiting);
    wait::until_true("the wait ends", PATIENCE / 2, || waiting.is_finished());
    waiting.join().expect("no panic")
}
