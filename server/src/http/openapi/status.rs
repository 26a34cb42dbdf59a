//! The schema of `GET /status`. Later versions may add fields, codes and protocols.

use serde_json::{Map, Value, json};

use super::reference;
use super::schemas::{described, keys};

/// Fields of a log besides those of `LogInfo`, and what they mean.
const OF_A_LOG: [(&str, &str); 10] = [
    ("disk_bytes", "Bytes of its segments on disk."),
    ("segments", "The number of its segments."),
    ("queue_bytes", "Bytes of appends that wait to be committed."),
    ("commits", "Commits since the start of the server."),
    ("records_appended", "Records appended since the start."),
    ("bytes_written", "Bytes written for records since the start."),
    ("records_read", "Records sent to readers since the start, over every protocol."),
    ("bytes_read", "The bytes of these records; a compressed block counts its stored size."),
    ("followers", "Reads that wait for new records at the end of the log."),
    ("follower_lag", "Records between the follower that is farthest behind and the end."),
];

/// The schema, from the fields of a log and of a cursor.
pub(super) fn schema(log: &Value, cursor: &Value) -> Value {
    let number = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let or_null = |description: &str| {
        let schema = json!({ "type": ["integer", "null"], "format": "int64", "minimum": 0 });
        described(description, &schema)
    };
    let mut row = fields_of(log);
    for (name, description) in OF_A_LOG {
        row.insert(name.to_owned(), described(description, &number));
    }
    row.insert("cursors".to_owned(), or_null("Its cursors; null if their file is damaged."));
    let lag = "Records between the cursor that is farthest behind and the end.";
    row.insert("cursor_lag".to_owned(), or_null(lag));
    let mut cursor = fields_of(cursor);
    let lag = "Records between it and the end; null if it is older than the log.";
    cursor.insert("lag".to_owned(), or_null(lag));
    let time = || or_null("Microseconds since the epoch; null without a record.");
    object(&json!({
        "version": { "type": "string" },
        "time": described("When this answer was made, in microseconds since the epoch.", &number),
        "uptime_us": described("Microseconds since the start of the server.", &number),
        "connections": object(&json!({
            "open": number,
            "max": described("The limit of open connections.", &number),
            "closed_idle": described("Idle connections closed to make room.", &number),
            "refused": described("Connections refused because `max` were open.", &number),
        })),
        "streams": {
            "description": "Open connections of each protocol that HTTP was upgraded to.",
            "type": "object",
            "additionalProperties": number,
        },
        "memory": object(&json!({
            "in_flight_bytes": described("Bytes of requests in memory.", &number),
            "answer_bytes": described("Bytes of answers that wait to be sent.", &number),
        })),
        "disk": object(&json!({
            "free_bytes": or_null("Free space for the data directory; null if it is not known."),
            "reserve_bytes": described("The space that appends leave free.", &number),
            "is_reserve_reached": { "type": "boolean" },
        })),
        "warnings": {
            "description": "What an operator should look at; empty if all is well.",
            "type": "array",
            "items": object(&json!({
                "code": { "type": "string", "description": "For programs." },
                "message": { "type": "string", "description": "For people." },
            })),
        },
        "logs": { "type": "array", "items": object(&row.into()) },
        "details": {
            "description": "Only with the parameter `log`.",
            "type": "object",
            "properties": {
                "log_id": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
                "config": reference("schemas", "LogConfig"),
                "timestamp_first": time(),
                "timestamp_last": time(),
                "segments": { "type": "array", "items": object(&json!({
                    "start_position": number,
                    "end_position": number,
                    "disk_bytes": number,
                    "timestamp_first": time(),
                    "timestamp_last": time(),
                    "is_finished": { "type": "boolean" },
                })) },
                "cursors": { "type": ["array", "null"], "items": object(&cursor.into()) },
                "followers": { "type": "array", "items": object(&json!({
                    "protocol": {
                        "type": "string",
                        "description": "`styx/1`, `styx/0`, `websocket`, `event-stream`, or `http` \
                            for a long poll.",
                    },
                    "principal": { "type": "string", "description": "The name of its token." },
                    "peer": { "type": ["string", "null"], "description": "Its address." },
                    "since": number,
                    "position": described("The position of the next record for it.", &number),
                    "lag": number,
                })) },
            },
        },
    }))
}

fn fields_of(schema: &Value) -> Map<String, Value> {
    schema.as_object().cloned().unwrap_or_default()
}

/// An object that has these properties. All of them are required, except `details`.
fn object(properties: &Value) -> Value {
    let mut required = keys(properties);
    required.retain(|name| *name != "details");
    json!({ "type": "object", "required": required, "properties": properties })
}
