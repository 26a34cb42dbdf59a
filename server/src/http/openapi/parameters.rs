//! The parameters of requests: where each one goes, its type, range, default and
//! an example.

use serde_json::{Value, json};
use styx_protocol::limits::LOG_NAME_BYTES_MAX;

/// The name of each parameter in the components, and the parameter.
pub(super) fn all() -> Value {
    json!({
        "LogName": {
            "name": "name", "in": "path", "required": true,
            "description": "The name of the log.",
            "schema": name(),
            "example": "orders",
        },
        "CursorName": {
            "name": "cursor", "in": "path", "required": true,
            "description": "The name of the cursor.",
            "schema": name(),
            "example": "billing",
        },
        "IfMatch": condition(
            "If-Match",
            "Change the cursor only if it has this version, in quotes, or with `*` only if it \
             exists. \
             Otherwise the answer is 412 `cursor_taken`.",
            json!({ "type": "string", "minLength": 1, "pattern": "^(\\*|\"[0-9]{1,19}\")$" }),
        ),
        "IfNoneMatch": condition(
            "If-None-Match",
            "Create the cursor only if it does not exist. \
             Otherwise the answer is 412 `cursor_taken`.",
            json!({ "type": "string", "enum": ["*"] }),
        ),
        "OneLog": query("log", "The only log of the answer, with its `details`.", name()),
        "NewName": {
            "name": "name", "in": "query", "required": true,
            "description": "The name of the new log.",
            "schema": name(),
            "example": "orders",
        },
        "LogId": condition(
            "X-Styx-Log-Id",
            "The id of the log from an earlier answer. \
             If the log has another id now, the answer is 409 `log_changed`, except for positions \
             up to the point at which this log was restored from the expected one.",
            json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" }),
        ),
        "KnownEnd": condition(
            "X-Styx-Known-End",
            "An end position from an earlier answer. \
             If the log ends before it, the answer is 409 `log_end_regressed`.",
            unsigned(),
        ),
        "Details": query(
            "details",
            "Whether to add the configuration and the times of the first and the last record.",
            json!({ "type": "boolean", "default": false }),
        ),
        "Strict": query(
            "strict",
            "Whether a log that is not `ok` makes the answer 503.",
            json!({ "type": "boolean", "default": false }),
        ),
        "TrimPosition": {
            "name": "position", "in": "query", "required": true,
            "description": "Whole segments before this position are removed.",
            "schema": unsigned(),
            "example": 0,
        },
        "Whence": query(
            "whence",
            "What `position` is relative to: `origin` is position 0, `start` and `current` are the \
             first kept record, `end` is the end position. \
             With `time`, `position` is a time.",
            json!({
                "type": "string",
                "enum": ["origin", "start", "current", "end", "time"],
                "default": "origin",
            }),
        ),
        "ReadPosition": query(
            "position",
            "The number of records after `whence`; it may be negative. \
             A position outside the log is answered with 416. \
             With `whence=time`: microseconds since the epoch, for the first record appended then \
             or later. \
             The server also accepts an RFC 3339 time there, such as `2026-01-31T12:00:00Z`.",
            signed(0),
        ),
        "Count": query(
            "count",
            "The largest number of records in the answer. \
             A negative number is no limit, and 0 ends at once. \
             It is ignored when the answer is a single record.",
            signed(-1),
        ),
        "Follow": query(
            "follow",
            "Whether to wait for new records at the end of the log. \
             It is ignored when the answer is a single record. \
             The default for events is `true`.",
            json!({ "type": "boolean", "default": false }),
        ),
        "Encoding": query(
            "encoding",
            "How events hold records; it is ignored by other reads.",
            json!({ "type": "string", "enum": ["text", "base64"], "default": "text" }),
        ),
        "Timeout": header(
            "X-Styx-Timeout",
            "The number of seconds to wait with `follow`: 0 does not wait, -1 (the default) is no limit. \
             It is ignored without `follow`.",
            json!({ "type": "integer", "format": "int64", "minimum": -1, "maximum": i64::MAX }),
        ),
        "EventIds": query(
            "event_ids",
            "The ids of events: the next position, or the id of the log, a colon and the next \
             position. \
             It is ignored by other reads.",
            json!({ "type": "string", "enum": ["position", "checkpoint"], "default": "position" }),
        ),
        "LastEventId": header(
            "Last-Event-ID",
            "The id of the last event that arrived, in either form: events continue after it. \
             If it is from another log, the answer is 409 `log_changed`, and if the log ends \
             before it, 409 `log_end_regressed`. \
             It is ignored by other reads.",
            json!({ "type": "string", "pattern": "^([0-9a-f]{32}:)?[0-9]{1,19}$" }),
        ),
        "ExpectedPosition": condition(
            "X-Styx-Expected-Position",
            "Append only if the log ends at this position. \
             Otherwise the answer is 409 `position_mismatch`.",
            unsigned(),
        ),
        "Producer": condition(
            "X-Styx-Producer",
            "The id of an idempotent producer: a retry of a request appends nothing twice. \
             It needs `X-Styx-Sequence`.",
            json!({ "type": "integer", "minimum": 1, "maximum": u64::MAX }),
        ),
        "Epoch": condition(
            "X-Styx-Epoch",
            "The epoch of the producer: a producer with a lower one is fenced. \
             It needs `X-Styx-Producer`.",
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        ),
        "Sequence": condition(
            "X-Styx-Sequence",
            "The number of the first record of the request among the records of its producer. \
             It needs `X-Styx-Producer`.",
            unsigned(),
        ),
    })
}

/// The name of a log.
pub(super) fn name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]+$",
        "minLength": 1,
        "maxLength": LOG_NAME_BYTES_MAX,
    })
}

/// An optional header that states a condition. An empty one is an error.
fn condition(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

/// Another optional header. An empty one counts as missing.
fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({
        "name": name, "in": "header",
        "description": description,
        "schema": { "anyOf": [schema, { "type": "string", "maxLength": 0 }] },
    })
}

/// An optional query parameter. An empty value means its default.
fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({
        "name": name, "in": "query", "allowEmptyValue": true,
        "description": description, "schema": schema,
    })
}

/// A position or a count of 64 bits.
fn unsigned() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
}

fn signed(default: i64) -> Value {
    json!({
        "type": "integer", "format": "int64",
        "minimum": i64::MIN, "maximum": i64::MAX, "default": default,
    })
}
