//! A forked child has the objects of a client, but none of the threads that may hold
//! their locks. Dropping the objects there must not wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use styx_client::bindings::{CompletionQueue, Ticket};
use styx_client::blocking::wait;
use styx_client::consumer::Handle;
use styx_client::logs::{Backup, Restore};
use styx_client::over_http::Reader;
use styx_client::{Ack, Client, Consumer, Producer};
use styx_protocol::ReadParams;
use styx_signals::{Gate, fork, gated_waker};
use styx_tests::TestServer;

/// How long a child may take, which has next to nothing to do.
const CHILD: Duration = Duration::from_secs(20);

fn server() -> (TestServer, Client) {
    let server = TestServer::start();
    server.create("a");
    let client = Client::builder(&format!("styx://{}", server.address()));
    let client = client.build().expect("good options");
    (server, client)
}

fn follow(client: &Client) -> Consumer {
    wait(client.consumer("a").follow(true).open()).expect("opens")
}

/// A thread polls a consumer and stops while it holds the lock of the consumer's queue.
/// The child has the lock as held, without the thread.
#[test]
fn dropping_a_consumer_in_a_child_does_not_wait_for_a_lock_of_the_parent() {
    let (_server, client) = server();
    let consumer: *mut Consumer = Box::into_raw(Box::new(follow(&client)));
    // SAFETY: only the polling thread uses the consumer in this process.
    let (polled, handle) = unsafe { (&mut *consumer, (*consumer).handle()) };
    let gate = Gate::leaked();
    let polling = std::thread::spawn(move || {
        let waker = gated_waker(gate);
        let mut next = Box::pin(polled.next_batch());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    });
    gate.wait_until_reached();
    let child = fork(|| {
        handle.close();
        handle.wakeup();
        drop(handle.clone());
        // SAFETY: the thread that borrows the consumer does not exist in the child.
        drop(unsafe { Box::from_raw(consumer) });
    });
    let code = child.wait(CHILD);
    gate.open();
    polling.join().expect("no panic");
    // SAFETY: the thread that borrowed the consumer has ended.
    drop(unsafe { Box::from_raw(consumer) });
    assert_eq!(code, Some(0), "the child has ended");
}

/// One object of each kind, most of them in the middle of something. Futures that wait
/// were polled once. They are dropped in this order.
type Objects = (
    Vec<Pin<Box<dyn Future<Output = ()>>>>,
    Vec<Ack>,
    Vec<Ticket>,
    (Backup, Restore, Reader),
    (Handle, CompletionQueue, Client),
);

/// Producers and consumers are in use by other threads while the process forks.
struct Used {
    producer: Producer,
    consumer: Consumer,
}

fn poll_once<T: 'static>(
    waiting: impl Future<Output = T> + 'static,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let mut waiting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        waiting.await;
    });
    let _ = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    waiting
}

fn objects(client: &Client, producer: &'static Producer, handle: Handle) -> Objects {
    let queue = CompletionQueue::new(8).expect("a descriptor");
    let acks: Vec<Ack> =
        (0..3).map(|_| wait(producer.append(&[7; 100])).expect("accepted")).collect();
    let waiting_ack = acks[2].clone();
    let mut restore = wait(client.restore_log("b")).expect("a name");
    let full: &'static mut Restore =
        Box::leak(Box::new(wait(client.restore_log("c")).expect("a name")));
    let called = client.clone();
    let waiting = vec![
        poll_once(producer.flush()),
        poll_once(producer.send(b"a record")),
        poll_once(async move { waiting_ack.position().await }),
        poll_once(async move { called.list_logs().await }),
        poll_once(client.consumer("a").open()),
        poll_once(client.producer("a").open()),
        poll_once(full.write(Bytes::from(vec![7; 2 << 20]))),
    ];
    wait(restore.write(Bytes::from_static(b"not an archive"))).expect("accepted");
    let mut reader = wait(Reader::open(client, "a", ReadParams::default())).expect("opens");
    wait(reader.next_payloads()).expect("a record");
    let tickets = (0..3).map(|token| queue.ticket(token).expect("a place")).collect();
    let backup = wait(client.backup_log("a")).expect("a log");
    (waiting, acks, tickets, (backup, restore, reader), (handle, queue, client.clone()))
}

/// Forks while the client's threads and two others are busy. Each child drops everything.
fn drop_in_children(forks: usize) {
    let (_server, client) = server();
    let used = Used {
        producer: wait(client.producer("a").open()).expect("opens"),
        consumer: follow(&client),
    };
    let handle = used.consumer.handle();
    let used: *mut Used = Box::into_raw(Box::new(used));
    // SAFETY: nobody else makes a reference to these fields in this process.
    let (producer, consumer): (&'static Producer, &'static mut Consumer) =
        unsafe { (&(*used).producer, &mut (*used).consumer) };
    let done: &AtomicBool = Box::leak(Box::default());
    let appending = std::thread::spawn(move || {
        while !done.load(Ordering::SeqCst) {
            let ack = wait(producer.append(&[7; 200])).expect("accepted");
            wait(ack.position()).expect("durable");
        }
    });
    let taking = std::thread::spawn(move || {
        while wait(consumer.next_batch()).is_ok() {
            if done.load(Ordering::SeqCst) {
                return;
            }
        }
    });
    let mut objects = Some(objects(&client, producer, handle.clone()));
    let mut hung = Vec::new();
    for number in 0..forks {
        let child = fork(|| {
            drop(objects.take());
            // SAFETY: the threads that borrow these do not exist in the child.
            drop(unsafe { Box::from_raw(used) });
        });
        if child.wait(CHILD) != Some(0) {
            hung.push(number);
            break;
        }
    }
    done.store(true, Ordering::SeqCst);
    handle.close();
    appending.join().expect("no panic");
    taking.join().expect("no panic");
    drop(objects);
    // SAFETY: the threads that borrowed these have ended.
    drop(unsafe { Box::from_raw(used) });
    assert!(hung.is_empty(), "a child of {forks} hung or failed: number {hung:?}");
}

#[test]
fn dropping_everything_in_children_of_a_busy_process_never_hangs() {
    drop_in_children(5_000);
}

/// The run by hand before a release: about six minutes on two cores.
#[test]
#[ignore = "takes six minutes; CONTRIBUTING.md has the command"]
fn dropping_everything_in_200_000_children_never_hangs() {
    drop_in_children(200_000);
}
