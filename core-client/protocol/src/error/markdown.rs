//! Generates docs/errors.md from the table.

use std::fmt::Write;

use super::{Code, Remedy};

const HEAD: &str = "\
# Errors

Generated from the table in `core-client/protocol/src/error/mod.rs`; do not edit. Run `cargo xtask docs`, or
`cargo run -p styx-protocol --example errors_md > docs/errors.md`.

Over HTTP, an error is its status and the body `{\"code\": \"…\", \"message\": \"…\"}`.
`code` is stable, so programs can rely on it. `message` is for people: it says what to do, and it may change.
The server closes a WebSocket with the close code and ends a styx/1 stream with an error frame that has the stream code.
styx/0 only knows code 0.

**Retry** says whether the same request may succeed later.
**Appended** says whether records of the failed request may be in the log despite the error; if it says no, they are not.

| code | HTTP | WebSocket | stream | retry | appended | when |
|---|---|---|---|---|---|---|
";

/// The complete text of docs/errors.md.
#[must_use]
pub fn to_markdown() -> String {
    let mut out = HEAD.to_owned();
    for code in Code::all() {
        let retry = match code.remedy() {
            Remedy::Retry => "yes",
            Remedy::Fatal => "no",
        };
        let appended = if code.maybe_appended() { "maybe" } else { "no" };
        writeln!(
            out,
            "| `{code}` | {} | {} | {} | {retry} | {appended} | {} |",
            code.http_status(),
            code.close_code(),
            code.stream_code(),
            code.meaning(),
        )
        .expect("writing to a String never fails");
    }
    out
}
