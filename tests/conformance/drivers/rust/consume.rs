//! Consumers.

use serde_json::{Value, json};
use styx_client::blocking::Consumer;
use styx_client::consumer::{Polled, Start};
use styx_client::{Record, RecordBatch};
use styx_tests::hex;

use crate::arguments::{Arguments, number};
use crate::objects::{Failure, Object, Objects};
use crate::options;

pub(crate) fn open(objects: &mut Objects, arguments: &Arguments<'_>) -> Result<Value, Failure> {
    let mut builder = objects.client(arguments.text("on")?)?.consumer(arguments.text("log")?);
    for (name, text) in options::texts(&arguments.0["options"]) {
        builder = builder.set(&name, &text)?;
    }
    objects.add(arguments.text("as")?, Object::Consumer(Box::new(builder.open()?)));
    Ok(json!({}))
}

pub(crate) fn call(
    consumer: &mut Consumer,
    op: &str,
    arguments: &Arguments<'_>,
) -> Result<Value, Failure> {
    Ok(match op {
        "read" => read(consumer, arguments.optional_number("count")?)?,
        "poll" => match consumer.poll(arguments.seconds("timeout")?)? {
            Polled::Batch(batch) => shown(&batch),
            Polled::Nothing => json!({ "records": [], "ended": false }),
            Polled::End => json!({ "records": [], "ended": true }),
        },
        "seek" => {
            let texts = options::texts(&json!({ "start": arguments.0["start"] }));
            let (_, start) = &texts[0];
            consumer.seek(start.parse::<Start>()?)?;
            json!({})
        }
        "commit" => json!({ "position": number(consumer.commit()?.position()?) }),
        "state" => json!({
            "position": number(consumer.position()),
            "checkpoint": consumer.checkpoint().to_string(),
            "lag": number(consumer.lag()),
            "caught_up": consumer.caught_up(),
        }),
        "close" => {
            consumer.close();
            json!({})
        }
        other => return Err(Failure::Driver(format!("a consumer has no {other}"))),
    })
}

/// Reads record by record, up to `count` of them.
fn read(consumer: &mut Consumer, count: Option<u64>) -> Result<Value, Failure> {
    let mut records = Vec::new();
    while count.is_none_or(|count| (records.len() as u64) < count) {
        match consumer.next_record() {
            Ok(Some(record)) => records.push(record_shown(&record)),
            Ok(None) => return Ok(json!({ "records": records, "ended": true })),
            Err(error) => return Err(Failure::Client(error, records)),
        }
    }
    Ok(json!({ "records": records, "ended": false }))
}

fn shown(batch: &RecordBatch) -> Value {
    json!({
        "records": batch.iter().map(|record| record_shown(&record)).collect::<Vec<_>>(),
        "ended": false,
        "first_position": number(batch.first_position()),
        "next_position": number(batch.next_position()),
        "checkpoint": batch.checkpoint().to_string(),
    })
}

fn record_shown(record: &Record<'_>) -> Value {
    json!({
        "position": number(record.position()),
        "timestamp": number(record.timestamp()),
        "payload": hex::encode(record.payload()),
    })
}
