//! Prints docs/errors.md.

fn main() {
    print!("{}", styx_protocol::error::to_markdown());
}
