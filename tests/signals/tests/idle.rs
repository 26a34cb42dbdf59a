//! A client that waits uses no CPU. This test has a process of its own, because it
//! measures the process.

use std::time::Duration;

use styx_client::blocking::Client;
use styx_client::consumer::Polled;
use styx_signals::cpu_time;
use styx_tests::TestServer;

/// How long each wait takes.
const WAIT: Duration = Duration::from_millis(500);
/// A busy thread would use all of the time, and even one that polls would use more.
const CPU_MAX: Duration = Duration::from_millis(50);

#[test]
fn waiting_consumer_uses_no_cpu() {
    let server = TestServer::start();
    server.create("a");
    let client = Client::connect(&format!("styx://{}", server.address())).expect("a server");
    let mut consumer = client.consumer("a").follow(true).open().expect("opens");
    let handle = consumer.handle();
    // Also after wake-ups, whose descriptor has to be read.
    for wakeups in [0, 1, 100] {
        for _ in 0..wakeups {
            handle.wakeup();
            assert!(matches!(consumer.poll(WAIT), Ok(Polled::Nothing)));
        }
        let before = cpu_time();
        let polled = consumer.poll(WAIT);
        let is_readable = handle.wait(WAIT);
        let used = cpu_time() - before;
        assert!(matches!(polled, Ok(Polled::Nothing)) && !is_readable);
        println!("{used:?} in {:?} after {wakeups} wake-ups", 2 * WAIT);
        assert!(used < CPU_MAX, "{used:?} in {:?} after {wakeups} wake-ups", 2 * WAIT);
    }
}
