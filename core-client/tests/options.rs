//! The table of options against the builders and against docs/rust.md, in both directions.

use std::fmt::Debug;

use styx_client::options::{OPTIONS, OptionInfo, OptionOf};
use styx_client::{Client, Error, Kind};

fn client() -> Client {
    Client::builder("localhost").build().expect("good options")
}

fn options(of: OptionOf) -> impl Iterator<Item = &'static OptionInfo> {
    OPTIONS.iter().filter(move |option| option.of == of)
}

/// Sets each option to its default, and returns the options whose default cannot be set.
fn without_default<B: Debug + Clone>(
    of: OptionOf,
    builder: &B,
    set: impl Fn(B, &str, &str) -> Result<B, Error>,
) -> Vec<&'static str> {
    let mut without = Vec::new();
    for option in options(of) {
        match set(builder.clone(), option.name, option.default) {
            Ok(changed) if format!("{changed:?}") == format!("{builder:?}") => {}
            Ok(_) => without.push(option.name),
            Err(error) => {
                assert!(!error.message().contains("unknown"), "{error}");
                without.push(option.name);
            }
        }
    }
    without
}

#[test]
fn defaults_in_the_table_are_the_defaults_of_the_builders() {
    let builder = Client::builder("localhost");
    let without = without_default(OptionOf::Client, &builder, |b, k, v| b.set(k, v));
    assert_eq!(without, ["token", "ca_file", "ca_pem", "server_name", "user_agent", "traceparent"]);
    let builder = client().producer("a");
    let without = without_default(OptionOf::Producer, &builder, |b, k, v| b.set(k, v));
    assert_eq!(without, ["producer_id", "epoch", "expected_position"]);
    let builder = client().consumer("a");
    let without = without_default(OptionOf::Consumer, &builder, |b, k, v| b.set(k, v));
    assert_eq!(without, ["cursor", "deadline"]);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Each option is set by its name to a value that is not its default.
#[test]
fn set_does_what_the_method_of_that_name_does() {
    use std::time::Duration;
    use styx_client::{Codec, Codecs, Start};

    let shown = |value: &dyn Debug| format!("{value:?}");
    let of_client = [
        ("token", "x", Client::builder("h").token("x")),
        ("ca_file", "/a b", Client::builder("h").ca_file("/a b")),
        ("ca_pem", "PEM", Client::builder("h").ca_pem("PEM")),
        ("server_name", "db", Client::builder("h").server_name("db")),
        ("connect_timeout", "5 s", Client::builder("h").connect_timeout(Duration::from_secs(5))),
        ("timeout", "500ms", Client::builder("h").timeout(Duration::from_millis(500))),
        ("silence_timeout", "2s", Client::builder("h").silence_timeout(Duration::from_secs(2))),
        ("retry", "false", Client::builder("h").retry(false)),
        ("threads", "64", Client::builder("h").threads(64)),
        ("user_agent", "me", Client::builder("h").user_agent("me")),
        ("traceparent", TRACE, Client::builder("h").traceparent(TRACE)),
    ];
    assert!(of_client.iter().map(|row| row.0).eq(options(OptionOf::Client).map(|o| o.name)));
    for (key, value, expected) in of_client {
        let set = Client::builder("h").set(key, value).expect(key);
        assert_eq!(shown(&set), shown(&expected), "{key}");
    }

    let client = client();
    let producer = || client.producer("a");
    let of_producer = [
        ("compression", "zstd", producer().compression(Codec::Zstd)),
        ("linger", "60 s", producer().linger(Duration::from_secs(60))),
        ("block_bytes", "1 MiB", producer().block_bytes(1 << 20)),
        ("in_flight_bytes", "1", producer().in_flight_bytes(1)),
        ("deadline", "1min", producer().deadline(Duration::from_secs(60))),
        ("close_timeout", "0", producer().close_timeout(Duration::ZERO)),
        ("idempotent", "false", producer().idempotent(false)),
        ("producer_id", "2013", producer().producer_id(2013)),
        ("epoch", "4294967295", producer().epoch(u32::MAX)),
        ("expected_position", "0", producer().expected_position(0)),
        ("track_settled", "true", producer().track_settled(true)),
    ];
    assert!(of_producer.iter().map(|row| row.0).eq(options(OptionOf::Producer).map(|o| o.name)));
    for (key, value, expected) in of_producer {
        let set = producer().set(key, value).expect(key);
        assert_eq!(shown(&set), shown(&expected), "{key}");
    }

    let consumer = || client.consumer("a");
    let of_consumer = [
        ("start", "42", consumer().start(Start::Position(42))),
        ("cursor", "billing", consumer().cursor("billing")),
        ("count", "7", consumer().count(7)),
        ("follow", "true", consumer().follow(true)),
        ("deadline", "none", consumer().deadline(None)),
        ("buffer_bytes", "64 KiB", consumer().buffer_bytes(64 << 10)),
        ("codecs", "lz4", consumer().codecs(Codecs::PLAIN.with(Codec::Lz4))),
    ];
    assert!(of_consumer.iter().map(|row| row.0).eq(options(OptionOf::Consumer).map(|o| o.name)));
    for (key, value, expected) in of_consumer {
        let set = consumer().set(key, value).expect(key);
        assert_eq!(shown(&set), shown(&expected), "{key}");
    }
}

#[test]
fn wrong_keys_and_values_say_what_is_right() {
    let client = client();
    let errors = [
        (Client::builder("h").set("timeut", "1s").map(drop), "did you mean timeout?"),
        (Client::builder("h").set("timeout", "1").map(drop), "such as 500 ms"),
        (Client::builder("h").set("threads", "65").map(drop), "from 1 to 64"),
        (client.producer("a").set("linger", "61 s").map(drop), "from 0ns to 60s"),
        (client.producer("a").set("block_bytes", "2 MiB").map(drop), "from 1 to 1048576"),
        (client.producer("a").set("compression_", "lz4").map(drop), "did you mean compression?"),
        (client.consumer("a").set("start", "begin").map(drop), "use start, end, end-100"),
        (client.consumer("a").set("linger", "1s").map(drop), "an option of the producer"),
    ];
    for (result, expected) in errors {
        let error = result.expect_err(expected);
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains(expected), "{error}");
    }
}

/// docs/rust.md has exactly these rows, so nothing is documented that does not exist, and
/// nothing exists that is not documented.
#[test]
fn documentation_lists_the_options_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rust.md");
    let document = std::fs::read_to_string(path).expect("a document");
    let head = "| option | unit | default | meaning |\n|---|---|---|---|\n";
    for of in [OptionOf::Client, OptionOf::Producer, OptionOf::Consumer] {
        let mut table = head.to_owned();
        for OptionInfo { name, unit, default, meaning, .. } in options(of) {
            table.push_str(&format!("| `{name}` | {unit} | {default} | {meaning} |\n"));
        }
        let expected = format!("{table}\n");
        assert!(document.contains(&expected), "docs/rust.md needs this table:\n\n{table}");
    }
    assert_eq!(document.matches(head).count(), 3, "docs/rust.md has another table of options");
}

#[test]
fn documentation_lists_the_kinds_of_clients() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rust.md");
    let document = std::fs::read_to_string(path).expect("a document");
    let mut table = "| kind | number | retry | when |\n|---|---|---|---|\n".to_owned();
    for kind in Kind::all().filter(|kind| !matches!(kind, Kind::Code(_))) {
        let retry = if kind.is_retriable() { "yes" } else { "no" };
        let (number, meaning) = (kind.number(), kind.meaning());
        table.push_str(&format!("| `{kind}` | {number} | {retry} | {meaning} |\n"));
    }
    assert!(document.contains(&format!("{table}\n")), "docs/rust.md needs this table:\n\n{table}");
}
