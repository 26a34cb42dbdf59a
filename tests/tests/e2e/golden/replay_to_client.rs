//! This client against an earlier server, which is played back from the transcripts.

use styx_client::blocking::Client;
use styx_protocol::Codec;

use super::Golden;
use super::fake_server::FakeServer;

/// A fake server that plays this transcript, and a client of it.
fn begin(golden: Golden, name: &str) -> (FakeServer, Client) {
    let transcript = golden.transcripts().into_iter().find(|one| one.name == name);
    let server = FakeServer::start(golden, transcript.unwrap_or_else(|| panic!("no {name}")));
    let address = format!("styx://{}", server.address);
    (server, Client::connect(&address).expect("it listens"))
}

#[test]
fn producer_appends_to_an_earlier_server() {
    Golden::all().for_each(produce);
}

fn produce(golden: Golden) {
    for (codec, first_position) in Codec::ALL.into_iter().zip([0, 51, 102]) {
        let (server, client) = begin(golden, &format!("produce-{codec}"));
        let producer = client.producer("orders").compression(codec).open().expect("opened");
        let mut sent = vec![format!("first with {codec}").into_bytes()];
        assert_eq!(producer.send(&sent[0]).expect("durable"), first_position);
        let payload = |i: usize| format!("{i} {}", "abc".repeat(10)).into_bytes();
        sent.extend((0..50).map(payload));
        let batch = producer.append_many(sent[1..].iter()).expect("accepted");
        assert_eq!(batch.position().expect("durable"), first_position + 1);
        producer.flush().expect("durable");
        assert_eq!(producer.durable_sequence(), 51);
        producer.close().expect("closed");
        assert!(*server.appended.lock().expect("no thread panicked") == sent);
    }
}

#[test]
fn consumer_reads_from_an_earlier_server() {
    Golden::all().for_each(consume);
}

fn consume(golden: Golden) {
    let (_server, client) = begin(golden, "consume");
    let mut consumer = client.consumer("orders").open().expect("opened");
    let mut records = Vec::new();
    while let Some(batch) = consumer.next_batch().expect("read") {
        for record in batch.iter() {
            assert_eq!(record.position(), records.len() as u64);
            assert!(record.timestamp() > 1_700_000_000_000_000, "a time in µs");
            records.push(String::from_utf8(record.payload().to_vec()).expect("text"));
        }
    }
    let of_codec = |codec: Codec| {
        let one = format!("first with {codec}");
        let more = (0..50).map(move |i| format!("record {i} with {codec} {}", "abc".repeat(10)));
        [one].into_iter().chain(more)
    };
    assert!(records == Codec::ALL.into_iter().flat_map(of_codec).collect::<Vec<_>>());
}
