//! The driver of the Rust client for the conformance suite: it does what each line of standard
//! input asks, and answers with a line. tests/conformance/README.md has the operations.
//!
//! ```text
//! runner ─▶ {"op": "send", "on": "p", "payload": "6f6e65"}
//!        ◀─ {"ok": {"position": 0}}
//! ```
//!
//! It has no logic of its own: every operation is one call of `styx_client::blocking`.

mod arguments;
mod consume;
mod logs;
mod objects;
mod options;
mod produce;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use arguments::Arguments;
use objects::{Failure, Object, Objects};

fn main() -> ExitCode {
    let mut objects = Objects::default();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match line.map(|line| serde_json::from_str::<Value>(&line)) {
            Ok(Ok(request)) => answer(&mut objects, &request),
            Ok(Err(error)) => Failure::Driver(format!("no JSON: {error}")).into_answer(),
            Err(_) => return ExitCode::FAILURE,
        };
        if writeln!(output, "{answer}").and_then(|()| output.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn answer(objects: &mut Objects, request: &Value) -> Value {
    match run(objects, &Arguments(request)) {
        Ok(result) => json!({ "ok": result }),
        Err(failure) => failure.into_answer(),
    }
}

fn run(objects: &mut Objects, arguments: &Arguments<'_>) -> Result<Value, Failure> {
    match arguments.text("op")? {
        "hello" => Ok(json!({ "driver": "rust" })),
        "connect" => logs::connect(objects, arguments),
        "producer" => produce::open(objects, arguments),
        "consumer" => consume::open(objects, arguments),
        op => match objects.of(arguments.text("on")?)? {
            Object::Client(client) => logs::call(client, op, arguments),
            Object::Producer(producer) => {
                let (result, ack) = produce::call(producer, op, arguments)?;
                if let Some(ack) = ack {
                    objects.add(arguments.text("as")?, Object::Ack(ack));
                }
                Ok(result)
            }
            Object::Ack(ack) => produce::ack(ack, op),
            Object::Consumer(consumer) => consume::call(consumer, op, arguments),
        },
    }
}
