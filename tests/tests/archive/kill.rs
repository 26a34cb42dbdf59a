//! kill -9 at random moments, while segments are archived, evicted and read: no acked record is
//! lost, and the archive stays complete.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use styx_tests::random::Random;
use styx_tests::store_proxy::{StoreFault, StoreRule};

use crate::support::{Archive, EVICT, append, await_archived, payload};

const CYCLES: u64 = 12;

#[test]
fn no_acked_record_is_lost_by_kill_9_while_segments_are_archived_and_evicted() {
    let archive = Archive::start();
    archive.proxy.inject(&[StoreRule::all(StoreFault::AnswerAfterSuccess(503)).one_in(7)]);
    let mut server = archive.settings(EVICT).start();
    server.create_with("a", "segment_max_size=16384");
    let mut random = Random::new(Random::fresh_seed());
    let mut end = 0;
    for _ in 0..CYCLES {
        append(&server, "a", end, 150);
        end += 150;
        // At any moment of the uploads and evictions that follow.
        std::thread::sleep(Duration::from_millis(random.between(0, 400)));
        let is_reading = AtomicBool::new(false);
        let position = random.between(0, end);
        std::thread::scope(|scope| {
            let (address, is_reading) = (server.address(), &is_reading);
            scope.spawn(move || {
                is_reading.store(true, Ordering::Relaxed);
                let request = styx_tests::api::read_binary("a", &format!("position={position}"));
                let _ = styx_tests::Connection::try_open(address)
                    .and_then(|mut connection| connection.exchange(&request));
            });
            while !is_reading.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            server.kill();
        });
        server.restart();
        let read = server.read_all("a");
        assert_eq!(read.len() as u64, end);
        for (number, record) in (0..).zip(&read) {
            assert!(*record == payload(number), "record {number}");
        }
    }
    archive.proxy.inject(&[]);
    await_archived(&server, "a");
    archive.verify();
}
