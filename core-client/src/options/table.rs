//! [`OPTIONS`]: every option that has a key, for language bindings and documentation.

use std::fmt;

/// An option of a builder. Each builder's `set` sets it by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionInfo {
    /// The builder that has the option.
    pub of: OptionOf,
    /// The key, which is also the name of the builder's method.
    pub name: &'static str,
    /// The type of the value, and how it is written.
    pub unit: OptionUnit,
    /// The default: a value, or words if none can be given.
    pub default: &'static str,
    /// The purpose of the option, in a few words.
    pub meaning: &'static str,
}

/// The builder that has an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptionOf {
    /// [`client::Builder`](crate::client::Builder).
    Client,
    /// [`producer::Builder`](crate::producer::Builder).
    Producer,
    /// [`consumer::Builder`](crate::consumer::Builder).
    Consumer,
}

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionUnit {
    /// Any text.
    Text,
    /// The path of a file.
    File,
    /// A decimal number and `us`, `ms`, `s`, `min` or `h`, such as `500 ms`; or `0`.
    Duration,
    /// A whole number, with or without `KiB`, `MiB` or `GiB`.
    Bytes,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// `none`, `lz4` or `zstd`.
    Codec,
    /// `all`, `none`, or codecs separated by commas.
    Codecs,
    /// A [`Start`](crate::Start) as text.
    Start,
}

use OptionOf::{Client, Consumer, Producer};
use OptionUnit::{Bytes, Codec, Codecs, Duration, File, Flag, Number, Start, Text};

/// Every option, ordered by builder. docs/rust.md lists the same ones.
pub const OPTIONS: &[OptionInfo] = &[
    row(Client, "token", Text, "none", "bearer token to send with every request"),
    row(Client, "ca_file", File, "the system's", "the only certificate authorities to trust"),
    row(Client, "ca_pem", Text, "the system's", "the contents of a `ca_file`"),
    row(
        Client,
        "server_name",
        Text,
        "the address's host",
        "the name that the server's certificate must have",
    ),
    row(
        Client,
        "connect_timeout",
        Duration,
        "10 s",
        "time to establish a connection, including TLS, and for the check of `connect`",
    ),
    row(
        Client,
        "timeout",
        Duration,
        "30 s",
        "time for a call, including retries; also for opening a producer or consumer",
    ),
    row(
        Client,
        "silence_timeout",
        Duration,
        "30 s",
        "replace a connection after this time without any bytes; at least 2 s",
    ),
    row(Client, "retry", Flag, "true", "retry calls that change nothing"),
    row(Client, "threads", Number, "1", "threads that own the sockets; at most 64"),
    row(Client, "user_agent", Text, "styx-client/VERSION", "the client's name in requests"),
    row(
        Client,
        "traceparent",
        Text,
        "none",
        "the trace that its requests belong to, as in W3C Trace Context",
    ),
    row(
        Producer,
        "compression",
        Codec,
        "none",
        "compress blocks; used if the server accepts it and the block becomes smaller",
    ),
    row(
        Producer,
        "linger",
        Duration,
        "0",
        "how long a block waits for more records; with 0 it is sent when the connection is free",
    ),
    row(
        Producer,
        "block_bytes",
        Bytes,
        "256 KiB",
        "size at which a block is complete; at most 1 MiB",
    ),
    row(
        Producer,
        "in_flight_bytes",
        Bytes,
        "32 MiB",
        "bytes that may be waiting or unacked before `append` waits",
    ),
    row(Producer, "deadline", Duration, "120 s", "from the append of a record to its ack"),
    row(Producer, "close_timeout", Duration, "30 s", "for `close`"),
    row(Producer, "idempotent", Flag, "true", "number the records, so that each is stored once"),
    row(
        Producer,
        "producer_id",
        Number,
        "random",
        "set it for a producer that continues after its program restarts",
    ),
    row(
        Producer,
        "epoch",
        Number,
        "the log's epoch plus one",
        "a higher epoch fences producers with a lower one",
    ),
    row(Producer, "expected_position", Number, "none", "append only if the log ends here"),
    row(
        Producer,
        "track_settled",
        Flag,
        "false",
        "keep the outcome of every block for `take_settled`",
    ),
    row(
        Consumer,
        "start",
        Start,
        "start",
        "where to begin; by default at the first record that the log still has",
    ),
    row(
        Consumer,
        "cursor",
        Text,
        "none",
        "the server keeps the position under this name; see [below](#at-least-once)",
    ),
    row(Consumer, "count", Number, "none", "stop after this number of records"),
    row(Consumer, "follow", Flag, "false", "wait for new records"),
    row(
        Consumer,
        "deadline",
        Duration,
        "120 s; none with `follow`",
        "how long the consumer may be without a connection; `none` for no limit",
    ),
    row(
        Consumer,
        "buffer_bytes",
        Bytes,
        "8 MiB",
        "bytes that may wait for your program before the server has to wait",
    ),
    row(Consumer, "codecs", Codecs, "all", "codecs in which the server may send blocks"),
];

const fn row(
    of: OptionOf,
    name: &'static str,
    unit: OptionUnit,
    default: &'static str,
    meaning: &'static str,
) -> OptionInfo {
    OptionInfo { of, name, unit, default, meaning }
}

impl fmt::Display for OptionOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionOf::Client => "client",
            OptionOf::Producer => "producer",
            OptionOf::Consumer => "consumer",
        })
    }
}

impl fmt::Display for OptionUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionUnit::Text => "text",
            OptionUnit::File => "file",
            OptionUnit::Duration => "duration",
            OptionUnit::Bytes => "bytes",
            OptionUnit::Number => "number",
            OptionUnit::Flag => "true or false",
            OptionUnit::Codec => "codec",
            OptionUnit::Codecs => "codecs",
            OptionUnit::Start => "start",
        })
    }
}
