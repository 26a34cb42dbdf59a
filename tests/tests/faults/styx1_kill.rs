//! kill -9 under a styx/1 producer with an id: acked records are there, once and in
//! order.

use std::io::Write as _;

use styx_protocol::frame::Event;
use styx_tests::TestServer;
use styx_tests::styx1::{block_of, framed, produce};

#[test]
fn acked_styx1_records_survive_kill_9() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=500");
    let mut acked = 0;
    for round in 0..10 {
        let mut producer = produce(&server, "a", "producer=77");
        let epoch = u32::try_from(producer.head.number("X-Styx-Epoch")).expect("small");
        let next = producer.head.header("X-Styx-Next-Sequence");
        let next: u64 = next.map_or(0, |next| next.parse().expect("a number"));
        assert!(next >= acked, "{next} of {acked} in round {round}");
        acked = next;
        let mut sending = producer.connection.socket().try_clone().expect("a second handle");
        let sender = std::thread::spawn(move || {
            for sequence in (next..).step_by(3) {
                let payloads = [0, 1, 2].map(|i| format!("record {}", sequence + i));
                let block = block_of(77, epoch, sequence, &payloads);
                if sending.write_all(&framed(&[block])).is_err() {
                    return;
                }
            }
        });
        while acked < next + 300 * (1 + round % 3) {
            match producer.next_but_heartbeats() {
                Some(Event::Ack(ack)) => acked = next + ack.count,
                other => panic!("{other:?}"),
            }
        }
        server.kill();
        sender.join().expect("the sender ends when the server is killed");
        server.restart();
        let records = server.read_all("a");
        assert!(records.len() as u64 >= acked);
        for (sequence, record) in records.iter().enumerate() {
            assert_eq!(*record, format!("record {sequence}").into_bytes());
        }
    }
}
