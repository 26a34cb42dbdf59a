//! Producers and acks.

use std::pin::pin;

use serde_json::{Value, json};
use styx_client::Error;
use styx_client::blocking::{Ack, Producer, wait_for};

use crate::arguments::{Arguments, number};
use crate::objects::{Failure, Object, Objects};
use crate::options;

pub(crate) fn open(objects: &mut Objects, arguments: &Arguments<'_>) -> Result<Value, Failure> {
    let mut builder = objects.client(arguments.text("on")?)?.producer(arguments.text("log")?);
    for (name, text) in options::texts(&arguments.0["options"]) {
        builder = builder.set(&name, &text)?;
    }
    objects.add(arguments.text("as")?, Object::Producer(builder.open()?));
    Ok(json!({}))
}

/// The result of an operation, and the ack that it has returned.
pub(crate) fn call(
    producer: &Producer,
    op: &str,
    arguments: &Arguments<'_>,
) -> Result<(Value, Option<Ack>), Failure> {
    let result = match op {
        "append" => {
            return Ok((json!({}), Some(producer.append(&arguments.bytes("payload")?)?)));
        }
        "append_many" => {
            let payloads = arguments.list_of_bytes("payloads")?;
            return Ok((json!({}), Some(producer.append_many(payloads)?)));
        }
        "send" => json!({ "position": number(producer.send(&arguments.bytes("payload")?)?) }),
        "flush" => {
            match arguments.optional_seconds("timeout") {
                None => producer.flush()?,
                Some(timeout) => wait_for(pin!(producer.as_async().flush()), timeout)
                    .unwrap_or_else(|| Err(Error::timed_out("the flush takes too long")))?,
            }
            json!({})
        }
        "close" => {
            match arguments.optional_seconds("timeout") {
                None => producer.close()?,
                Some(timeout) => producer.close_within(timeout)?,
            }
            json!({})
        }
        "next_sequence" => json!({ "next_sequence": number(producer.next_sequence()) }),
        other => return Err(Failure::Driver(format!("a producer has no {other}"))),
    };
    Ok((result, None))
}

pub(crate) fn ack(ack: &Ack, op: &str) -> Result<Value, Failure> {
    match op {
        "result" => Ok(json!({ "position": number(ack.position()?) })),
        "done" => Ok(json!({ "done": ack.try_position().is_some() })),
        other => Err(Failure::Driver(format!("an ack has no {other}"))),
    }
}
