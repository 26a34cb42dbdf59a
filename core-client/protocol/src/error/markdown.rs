//! docs/errors.md, made from the table.

use std::fmt::Write;

use super::{Code, Remedy};

const HEAD: &str = "\
# Errors

Generated from the table in `core-client/protocol/src/error/mod.rs`; do not edit. Run `cargo xtask docs`, or
`cargo run -p styx-protocol --example errors_md > docs/errors.md`.

Over HTTP an error is its status and `{\"code\": \"…\", \"message\": \"…\"}`. `code` is stable and for programs; `message`
is for people, says what to do, and may change. A WebSocket is closed with the close code, a styx/1 stream ends with an
error frame of the stream code, and styx/0 knows 0 alone.

**Retry** says whether the same request may work later. **Appended** says whether records of the failed request may be
in the log all the same; where it says no, they are not.

| code | HTTP | WebSocket | stream | retry | appended | when |
|---|---|---|---|---|---|---|
";

/// The whole of docs/errors.md.
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
        .expect("a String takes everything");
    }
    out
}
