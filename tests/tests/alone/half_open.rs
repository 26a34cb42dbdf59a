//! Peers that vanish: their machine lost power, or a cable was pulled. The server
//! receives nothing more, not even a FIN, and has to disconnect them within
//! `tcp_timeout`. It must not disconnect readers that are only slow or paused.
//!
//! Server and peers run in separate network namespaces. Where that is not allowed, the
//! test counts as skipped. `STYX_FAULT_TCP_TIMEOUT=30` runs it with the default.

use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_tests::api::LINES;
use styx_tests::network::{self, Network, NetworkProcess};
use styx_tests::{Request, Scratch, Settings, faults, styx0, styx1, wait, websocket};

use crate::beside_idle_tests;

/// More bytes in all than the buffers between two programs hold.
const LARGE_LINES: usize = 48_000;
const LINE_BYTES: usize = 1000;

fn tcp_timeout() -> Duration {
    let seconds = std::env::var("STYX_FAULT_TCP_TIMEOUT").ok();
    Duration::from_secs(seconds.map_or(12, |seconds| seconds.parse().expect("a number")))
}

fn get(target: &str, accept: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n")
}

fn websocket(target: &str) -> String {
    handshake(&websocket::handshake(target))
}

fn handshake(request: &Request) -> String {
    String::from_utf8(request.bytes()).expect("a handshake is text")
}

/// The peers that will vanish, and what each of them is doing.
fn vanishing(network: &Network) -> Vec<NetworkProcess> {
    const EVENTS: &str = "text/event-stream";
    let follow = |log: &str| format!("/logs/{log}/records?whence=end&follow=true");
    let half = "POST /logs/quiet/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf";
    let requests = [
        // Followers of a quiet log, which sends only keep-alive comments.
        get(&follow("quiet"), EVENTS),
        // The same with a pipelined request, which hyper does not read yet.
        get(&follow("quiet"), EVENTS) + &get("/version", "*/*"),
        // A follower to which the server sends records after it has vanished.
        get(&follow("busy"), EVENTS),
        // Long polls: of a log that stays quiet, and of one with a late record.
        get(&follow("quiet"), LINES),
        get(&follow("late"), LINES),
        // An idle kept-alive connection.
        get("/version", "*/*"),
        half.to_owned(),
        // A reader that had already stopped reading.
        get("/logs/large/records", LINES),
        // WebSockets: two idle, one that gets records, one that had stopped reading.
        websocket(&follow("quiet")),
        websocket("/logs/quiet/records?mode=write"),
        websocket(&follow("busy")),
        websocket("/logs/large/records"),
        // Streams: consumers of the same kinds, and producers.
        handshake(&styx0::handshake("GET", "quiet", "follow=true&whence=end")),
        handshake(&styx0::handshake("GET", "busy", "follow=true&whence=end")),
        handshake(&styx0::handshake("GET", "large", "")),
        handshake(&styx0::handshake("POST", "quiet", "")),
        handshake(&styx1::consume_request("quiet", "follow=true&whence=end")),
        handshake(&styx1::consume_request("busy", "follow=true&whence=end")),
        handshake(&styx1::consume_request("large", "")),
        handshake(&styx1::produce_request("quiet", "producer=7")),
    ];
    let http2 = "exec curl -sN --http2-prior-knowledge -H 'Accept: text/event-stream' \
                 \"$URL/logs/quiet/records?whence=end&follow=true\"";
    let requests = requests.iter().map(|bytes| network.send_far(bytes));
    requests.chain([network.start_far(http2)]).collect()
}

#[test]
fn a_vanished_peer_is_disconnected_within_tcp_timeout() {
    let _idle = beside_idle_tests();
    // The server used to disconnect followers after 1.5 times the timeout, and
    // connections with late data and all streams after twice the timeout.
    if !network::is_possible() {
        return faults::skip(
            "cannot create a network namespace on this machine (unshare -Urn, ip)",
        );
    }
    let tcp_timeout = tcp_timeout();
    let scratch = Arc::new(Scratch::new("alone"));
    let settings = Settings::default().script(&network::alone(&scratch));
    let settings = settings.argument("--bind-address").argument("0.0.0.0:0").argument("--insecure");
    let settings = settings.set(&format!("tcp_timeout = {}", tcp_timeout.as_secs()));
    // Its readiness cannot be asked from this network.
    let server = settings.while_scanning().start_in(scratch).expect("it can be started");
    let network = Network::of(&server);
    for log in ["quiet", "busy", "late", "large"] {
        network.near(&format!("curl -sSf -d name={log} $URL/logs"));
    }
    network.near(&format!(
        "yes \"$(printf 'x%.0s' {{2..{LINE_BYTES}}})\" | head -n {LARGE_LINES} | curl -sSf -H \
         'Content-Type: {LINES}' --data-binary @- $URL/logs/large/records"
    ));
    let vanishing = vanishing(&network);
    wait::until_true("all of them", Duration::from_secs(10), || {
        network.open_from_far() == vanishing.len()
    });
    let (paused, slow) = (paused(&network, tcp_timeout), slow(&network, tcp_timeout));

    network.cut_link();
    let start = Instant::now();
    let (mut left, mut is_late) = (vanishing.len(), false);
    wait::until_true("the vanished peers to be disconnected", 3 * tcp_timeout, || {
        network.near("curl -sSf -d x $URL/logs/busy/records");
        if !is_late && start.elapsed() > tcp_timeout / 2 {
            is_late = true;
            network.near("curl -sSf -d x $URL/logs/late/records");
        }
        let now = network.open_from_far();
        if now < left {
            println!("{} disconnected after {:?}", left - now, start.elapsed());
            left = now;
        }
        now == 0
    });
    let took = start.elapsed();
    assert!(
        took < tcp_timeout,
        "the last was disconnected after {took:?}, but {tcp_timeout:?} is allowed"
    );
    for (name, reader) in [("paused", paused), ("slow", slow)] {
        let read = reader.finish();
        assert_eq!(
            read.trim(),
            (LARGE_LINES * LINE_BYTES).to_string(),
            "a {name} reader was disconnected"
        );
    }
    drop(vanishing);
}

/// Starts to read, pauses, and reads the rest. Prints the number of bytes.
fn paused(network: &Network, tcp_timeout: Duration) -> NetworkProcess {
    reading(network, &format!("sleep {}", (tcp_timeout * 5 / 6).as_secs_f64()))
}

/// Reads slowly for longer than a vanished peer is kept, then the rest.
fn slow(network: &Network, tcp_timeout: Duration) -> NetworkProcess {
    let steps = tcp_timeout.as_secs() * 5;
    reading(network, &format!("for i in $(seq {steps}); do head -c 40000 <&3; sleep 0.2; done"))
}

fn reading(network: &Network, first: &str) -> NetworkProcess {
    network.start_near(&format!(
        "exec 3<>/dev/tcp/$HOST/$PORT; \
         printf 'GET /logs/large/records HTTP/1.0\\r\\nAccept: {LINES}\\r\\n\\r\\n' >&3; \
         while read -r line <&3; do [ \"$line\" = $'\\r' ] && break; done; \
         {{ {first}; cat <&3; }} | wc -c"
    ))
}
