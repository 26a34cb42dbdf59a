//! Writing over HTTP: every media type, framing and encoding, and their errors.

use std::io::Write as _;

use styx_tests::api::{
    BINARY, LINES, ONE, binary, info_json, write_binary, write_lines, write_one, written_json,
};
use styx_tests::random::Random;
use styx_tests::{Request, Table, TestServer, error, gives};

const NDJSON: &str = "application/x-ndjson";

fn write(content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::post("/logs/a/records").typed(content_type, body)
}

#[test]
fn a_body_of_any_other_media_type_is_one_record() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let mut end = 0;
    let mut wrote = || {
        end += 1;
        gives(200).with("Content-Type", "application/json").body(written_json(end, 1))
    };
    table.row("octet-stream", &write(ONE, "0"), &wrote());
    let untyped = Request::post("/logs/a/records").body("1");
    table.row("no type", &untyped, &wrote());
    table.row("curl's own", &write("application/x-www-form-urlencoded", "2=2"), &wrote());
    table.row("JSON", &write("application/json", "{\"3\":3}"), &wrote());
    table.row("text", &write("text/plain; charset=utf-8", "4\n4"), &wrote());
    table.row("no type at all", &write("nonsense", "5"), &wrote());
    table.row("two media types", &write("a/b, application/octet-stream", "6"), &wrote());
    table.row("an empty body", &write(ONE, ""), &gives(200).body(written_json(0, 0)));
    table.row("an empty body, no log", &write_one("nope", ""), &error(404, "log_not_found"));
    table.row(
        "no body, no length",
        &Request::new("POST", "/logs/a/records"),
        &gives(200).body(written_json(0, 0)),
    );
    table.check();
    let records = server.read_all("a");
    let expected: [&[u8]; 7] = [b"0", b"1", b"2=2", b"{\"3\":3}", b"4\n4", b"5", b"6"];
    assert_eq!(records, expected);
}

#[test]
fn lines_are_split_at_the_line_ending_of_the_media_type() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let mut end = 0;
    let mut wrote = |count| {
        end += count;
        gives(200).body(written_json(end, count))
    };
    let with = |parameters: &str| format!("{LINES}{parameters}");
    table.row("lf by default", &write(LINES, "0\n1\n\n3\n"), &wrote(4));
    table.row("lf", &write(&with(";line-ending=lf"), "4\r\n"), &wrote(1));
    table.row("cr", &write(&with("; line-ending=cr"), "5\r6\r"), &wrote(2));
    table.row("crlf", &write(&with(";line-ending=crlf"), "7\r\n8\n8\r8\r\n"), &wrote(2));
    table.row("quoted", &write(&with("; line-ending=\"cr\""), "9\r"), &wrote(1));
    table.row(
        "names in any case",
        &write("Application/Vnd.STYX.Line-Delimited;Line-Ending=cr", "10\r"),
        &wrote(1),
    );
    table.row("unknown parameters", &write(&with(";charset=utf-8"), "11\n"), &wrote(1));
    table.row("a last line without ending", &write(LINES, "12\n13"), &wrote(2));
    table.row("a cr at the end of crlf", &write(&with(";line-ending=crlf"), "14\r"), &wrote(1));
    table.row("nothing", &write(LINES, ""), &gives(200).body(written_json(0, 0)));
    table.row("one empty line", &write(LINES, "\n"), &wrote(1));
    let unknown = error(400, "invalid_params").says("line-ending");
    table.row("an unknown ending", &write(&with(";line-ending=zz"), "x\n"), &unknown);
    table.row("values have a case", &write(&with(";line-ending=LF"), "x\n"), &unknown);
    table.row("no log", &write_lines("nope", "x\n"), &error(404, "log_not_found"));
    table.check();
    let expected: [&[u8]; 16] = [
        b"0", b"1", b"", b"3", b"4\r", b"5", b"6", b"7", b"8\n8\r8", b"9", b"10", b"11", b"12",
        b"13", b"14\r", b"",
    ];
    assert_eq!(server.read_all("a"), expected);
}

#[test]
fn binary_records_are_length_prefixed() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let records: [&[u8]; 4] = [b"one", b"", b"\0\xff\n", b"four"];
    let wrote = gives(200).body(written_json(4, 4));
    table.row("four", &write(BINARY, binary(&records)), &wrote);
    table.row("none", &write(BINARY, ""), &gives(200).body(written_json(0, 0)));
    table.row("no log", &write_binary("nope", &records), &error(404, "log_not_found"));
    let info = info_json("a", 4, 3 + 3 + 4 + 4 * 8, 0, 4);
    table.row("8 bytes more each", &Request::get("/logs/a"), &gives(200).body(info));
    table.check();
    assert_eq!(server.read_all("a"), records);
}

#[test]
fn ndjson_lines_must_be_valid_json() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let good = "{\"a\": 1}\n[1, 2]\n\"text\"\nnull\n{\"last\":true}";
    table.row("good", &write(NDJSON, good), &gives(200).body(written_json(5, 5)));
    let bad = error(400, "malformed_records").field("position", 0).field("count", 0);
    table.row("bad", &write(NDJSON, "{}\n{oops}\n{}\n"), &bad.clone().says("3"));
    table.row("cut", &write(NDJSON, "{}\n{\"a\":"), &bad);
    table.check();
    let lines: Vec<&[u8]> = good.split('\n').map(str::as_bytes).collect();
    assert_eq!(server.read_all("a"), lines);
}

#[test]
fn a_malformed_body_appends_nothing_of_its_block_and_reports_the_offset() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let bad = error(400, "malformed_records").field("position", 0).field("count", 0);
    let mut negative = binary(&["good"]);
    negative.extend_from_slice(&(-1i32).to_be_bytes());
    negative.extend_from_slice(b"tail");
    table.row("a negative size", &write(BINARY, negative), &bad.clone().says("8"));
    let mut cut = binary(&["good", "better"]);
    cut.truncate(cut.len() - 1);
    table.row("a record that is cut", &write(BINARY, cut), &bad.clone().says("8"));
    let mut header = binary(&["good"]);
    header.extend_from_slice(&[0, 0, 0]);
    table.row("a size that is cut", &write(BINARY, header), &bad.says("8"));
    table.row("nothing", &Request::get("/logs/a"), &gives(200).body(info_json("a", 0, 0, 0, 0)));
    table.check();
}

#[test]
fn blocks_before_a_malformed_one_are_appended_and_reported() {
    let server = TestServer::with_log("a");
    let records: Vec<String> = (0..3000).map(|n| format!("{n:01000}")).collect();
    let mut body = binary(&records);
    let offset = body.len();
    body.extend_from_slice(&[0xff; 4]);
    let answer = server.ask(&write(BINARY, body)).expect_error(400, "malformed_records");
    let json = answer.json();
    let message = json["message"].as_str().expect("a message");
    assert!(
        message.contains(&offset.to_string()),
        "the message does not contain the byte offset {offset}: {message}"
    );
    let (position, count) = (json["position"].as_u64(), json["count"].as_u64());
    assert_eq!(position, count, "the log was empty: {json}");
    let count = count.expect("a count") as usize;
    assert!((1000..3000).contains(&count), "the complete blocks of 1 MiB before it: {count}");
    let kept: Vec<Vec<u8>> = records[..count].iter().map(|r| r.clone().into_bytes()).collect();
    assert_eq!(server.read_all("a"), kept);
}

#[test]
fn a_body_that_fits_one_block_is_appended_atomically() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=5008");
    let mut records = vec![vec![b'x'; 100]; 500];
    records.push(vec![b'y'; 5001]);
    let refused = server.ask(&write(BINARY, binary(&records)));
    let _ = refused.expect_error(413, "record_too_large");
    assert_eq!(server.info("a")["end_position"], 0);
    records.pop();
    records.push(vec![b'y'; 5000]);
    assert_eq!(server.append_all("a", &records), 501);
}

#[test]
fn a_record_over_the_limit_is_rejected() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=100");
    server.create("b");
    let mut table = Table::of(&server);
    let large = error(413, "record_too_large").field("position", 0).field("count", 0).says("92");
    table.row("93 bytes", &write(ONE, vec![b'x'; 93]), &large);
    let line = large.clone().says("line 3, at byte 4, is longer");
    for media_type in [LINES, "application/x-ndjson"] {
        let lines = format!("1\n2\n{}\n", "3".repeat(93));
        table.row(media_type, &write(media_type, lines), &line);
    }
    table.row("binary", &write(BINARY, binary(&[vec![0; 1], vec![0; 93]])), &large);
    table.row("a size alone", &write(BINARY, [0x7f, 0xff, 0xff, 0xff]), &large);
    table.row("92 bytes", &write(ONE, vec![b'x'; 92]), &gives(200).body(written_json(1, 1)));
    let largest = Random::new(1).bytes(1_048_568);
    table.row("1,048,568 bytes", &write_one("b", largest.clone()), &gives(200));
    let too_large = write_one("b", vec![b'x'; 1_048_569]);
    table.row(
        "1,048,569 bytes",
        &too_large,
        &error(413, "record_too_large").field("position", 0).field("count", 0),
    );
    table.check();
    assert_eq!(server.read_all("b"), [largest]);
}

#[test]
fn an_endless_line_is_rejected_before_the_body_ends() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=1008");
    let mut connection = server.connect();
    let head = Request::new("POST", "/logs/a/records")
        .header("Content-Type", LINES)
        .header("Transfer-Encoding", "chunked");
    connection.send(&head.head_bytes()).expect("the head can be sent");
    connection.send_chunk(&[b'x'; 2000]).expect("a chunk can be sent");
    // Neither the line nor the body has ended, but the response comes.
    let answer = connection.response("POST").expect("an answer");
    let _ = answer.expect_error(413, "record_too_large");
}

#[test]
fn chunked_bodies_are_reassembled() {
    let server = TestServer::with_log("a");
    let chunked = |content_type: &str, chunks: &[&[u8]]| {
        let mut connection = server.connect();
        let head = Request::new("POST", "/logs/a/records")
            .header("Content-Type", content_type)
            .header("Transfer-Encoding", "chunked");
        connection.send(&head.head_bytes()).expect("the head can be sent");
        for chunk in chunks {
            connection.send_chunk(chunk).expect("a chunk can be sent");
        }
        connection.send_chunk(b"").expect("the end can be sent");
        connection.response("POST").expect("an answer").expect(200).text().to_owned()
    };
    assert_eq!(chunked(ONE, &[b"he", b"ll", b"o"]), written_json(1, 1));
    assert_eq!(chunked(LINES, &[b"o", b"ne\nt", b"wo", b"\n"]), written_json(3, 2));
    assert_eq!(chunked(BINARY, &[b"\0\0", b"\0\x02r", b"1\0\0\0", b"\0"]), written_json(5, 2));
    let crlf = format!("{LINES};line-ending=crlf");
    assert_eq!(chunked(&crlf, &[b"a\r", b"\nb\r", b"\r\n"]), written_json(7, 2));
    assert_eq!(chunked(ONE, &[]), written_json(0, 0));
    let expected: [&[u8]; 7] = [b"hello", b"one", b"two", b"r1", b"", b"a", b"b\r"];
    assert_eq!(server.read_all("a"), expected);
}

#[test]
fn a_truncated_body_appends_no_partial_record() {
    let server = TestServer::with_log("a");
    let mut connection = server.connect();
    let request = write(ONE, "hello, world");
    let bytes = request.bytes();
    connection.send(&bytes[..bytes.len() - 5]).expect("a part can be sent");
    connection.finish_sending().expect("the end can be sent");
    if let Ok(answer) = connection.response("POST") {
        assert!(answer.status() >= 400, "{}", answer.shown());
    }
    server.append("a", "next");
    assert_eq!(server.read_all("a"), [b"next"]);
}

#[test]
fn deleting_or_truncating_a_log_ends_its_writers_with_an_error() {
    for end in [Request::post("/logs/a/truncate"), Request::delete("/logs/a")] {
        let server = TestServer::with_log("a");
        let mut connection = server.connect();
        let head = Request::new("POST", "/logs/a/records")
            .header("Content-Type", BINARY)
            .header("Transfer-Encoding", "chunked");
        connection.send(&head.head_bytes()).expect("the head can be sent");
        let chunk = binary(&vec![vec![b'x'; 1000]; 1000]);
        // Two blocks, so that one is appended before the body ends.
        connection.send_chunk(&chunk).expect("a chunk can be sent");
        connection.send_chunk(&chunk).expect("a chunk can be sent");
        styx_tests::wait::until_true("a first block", std::time::Duration::from_secs(10), || {
            server.info("a")["end_position"].as_u64() > Some(0)
        });
        let _ = server.ask(&end).expect(200);
        // The server may respond and close while this is being sent.
        let _ = connection.send_chunk(&chunk);
        let _ = connection.send_chunk(b"");
        if let Ok(answer) = connection.response("POST") {
            assert!([404, 409].contains(&answer.status()), "{}", answer.shown());
            assert!(answer.json()["count"].as_u64() > Some(0), "{}", answer.shown());
        }
        if end.method() == "POST" {
            assert_eq!(
                server.info("a")["end_position"],
                0,
                "nothing was appended after the truncation"
            );
        }
    }
}

#[test]
fn compressed_bodies_are_decompressed() {
    let server = TestServer::with_log("a");
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory can be written");
        encoder.finish().expect("memory can be written")
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory can be read");
    let write = |encoding: &str, content_type: &str, body: Vec<u8>| {
        write(content_type, body).header("Content-Encoding", encoding)
    };
    let many: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    let mut table = Table::of(&server);
    let wrote = |end, count| gives(200).body(written_json(end, count));
    table.row("gzip", &write("gzip", LINES, gzip(b"0\n1\n")), &wrote(2, 2));
    table.row("zstd", &write("zstd", LINES, zstd(b"2\n")), &wrote(3, 1));
    table.row("one record", &write("gzip", ONE, gzip(b"3")), &wrote(4, 1));
    table.row("in any case", &write("GZIP", ONE, gzip(b"4")), &wrote(5, 1));
    table.row("identity", &write("identity", ONE, b"5".to_vec()), &wrote(6, 1));
    table.row(
        "longer than a block",
        &write("zstd", LINES, zstd(many.as_bytes())),
        &wrote(200_006, 200_000),
    );
    let mut cut = gzip(b"6\n7\n");
    cut.truncate(cut.len() - 9);
    let bad = gives(400);
    table.row("cut", &write("gzip", LINES, cut), &bad);
    table.row("garbage", &write("zstd", LINES, b"garbage".to_vec()), &bad);
    let unknown = error(400, "invalid_params").says("br");
    table.row("unknown", &write("br", LINES, b"x".to_vec()), &unknown);
    let named = error(400, "invalid_params").says("Content-Encoding");
    table.row("not text", &write("gzip\u{a0}", ONE, gzip(b"x")), &named);
    let twice = write("gzip", ONE, gzip(b"x")).header("Content-Encoding", "gzip");
    table.row("two headers", &twice, &named);
    table.check();
    assert_eq!(server.info("a")["end_position"], 200_006);
    let records = server.read_all("a");
    assert_eq!(records[..6], [b"0", b"1", b"2", b"3", b"4", b"5"]);
    assert_eq!(records[200_005], b"line 199999");
}

#[test]
fn a_small_body_that_decompresses_to_a_huge_record_is_rejected() {
    let server = TestServer::with_log("a");
    let bomb = zstd::encode_all(std::io::repeat(0).take_bytes(512 << 20), 3).expect("packed");
    assert!(bomb.len() < 1 << 20);
    let request = write(ONE, bomb).header("Content-Encoding", "zstd");
    let _ = server.ask(&request).expect_error(413, "record_too_large");
    let peak = server.memory_bytes_most();
    assert!(peak < 200 << 20, "{peak} bytes for a bomb");
}

/// `Read::take` with a clearer name.
trait TakeBytes: std::io::Read + Sized {
    fn take_bytes(self, bytes: u64) -> std::io::Take<Self> {
        self.take(bytes)
    }
}

impl TakeBytes for std::io::Repeat {}

#[test]
fn an_acked_append_survives_an_immediate_kill() {
    let mut server = TestServer::with_log("a");
    for round in 0..5u64 {
        let end = server.append_all("a", &["x", "y"]);
        server.kill();
        server.restart();
        assert_eq!((end, server.info("a")["end_position"].as_u64()), (2 * round + 2, Some(end)));
    }
}
