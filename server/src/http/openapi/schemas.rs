//! The bodies of requests and answers.

use serde_json::{Map, Value, json};
use styx_protocol::limits::{CONFIG_VALUE_MAX, MAX_RECORD_SIZE_MAX};
use styx_protocol::{Code, LogConfig};

use super::parameters::name;
use super::{reference, status};

/// A field of a log's configuration, and what it is for.
type Field = (&'static str, &'static str);

const CONFIG: [Field; LogConfig::FIELDS.len()] = [
    ("max_record_size", "The largest record: its payload and 8 bytes."),
    ("index_after_size", "Bytes of a segment between two entries of its index."),
    ("segment_max_count", "Records after which a segment ends."),
    ("segment_max_size", "Bytes after which a segment ends."),
    ("segment_max_age", "Seconds after which a segment ends."),
    ("log_max_count", "Records to keep."),
    ("log_max_size", "Bytes to keep."),
    ("log_max_age", "Seconds to keep a record."),
];

/// The schemas, by name.
pub(super) fn all() -> Value {
    let position = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let time = json!({
        "description": "Microseconds since the epoch; null without a record.",
        "type": ["integer", "null"], "format": "int64", "minimum": 0,
    });
    let status = json!({
        "type": "string",
        "enum": ["ok", "corrupt", "tainted", "scanning", "unknown"],
    });
    let info = json!({
        "name": name(),
        "status": status.clone(),
        "record_count": position.clone(),
        "file_size": position.clone(),
        "start_position": position.clone(),
        "end_position": position.clone(),
    });
    let cursor = json!({
        "cursor": name(),
        "log_id": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
        "position": described("The position of the next record to read.", &position),
        "updated": described("When it was changed, in microseconds since the epoch.", &position),
        "version": described(
            "The number of the last change. \
             No two changes of the cursors of a log have the same number.",
            &position,
        ),
    });
    let archived = described("The records before it are also in the archive.", &position);
    json!({
        "LogInfo": {
            "type": "object",
            "required": keys(&info),
            "properties": info.clone(),
        },
        "LogDetails": {
            "description": "These fields are there with `details=true`; \
                `archived_position` only if the server has an archive.",
            "allOf": [reference("schemas", "LogInfo")],
            "properties": {
                "config": reference("schemas", "LogConfig"),
                "timestamp_first": time.clone(),
                "timestamp_last": time,
                "archived_position": archived.clone(),
            },
        },
        "LogList": { "type": "array", "items": reference("schemas", "ListedLog") },
        "ListedLog": {
            "description": "`archived_position` is there only if the server has an archive.",
            "allOf": [reference("schemas", "LogInfo")],
            "properties": { "archived_position": archived.clone() },
        },
        "LogConfig": {
            "type": "object",
            "required": LogConfig::FIELDS,
            "properties": config(|schema| schema),
        },
        "NewLog": new_log_of_json(&info),
        "NewLogForm": new_log(|schema| schema),
        "Cursor": {
            "type": "object",
            "required": keys(&cursor),
            "properties": cursor.clone(),
        },
        "CursorList": { "type": "array", "items": reference("schemas", "Cursor") },
        "NewPosition": {
            "type": "object",
            "required": ["position"],
            "properties": {
                "position": described("The position of the next record to read.", &position),
                "log_id": {
                    "description": "The log that the position belongs to. \
                        If the log has another id, the answer is 409 `log_changed`.",
                    "type": ["string", "null"],
                    "pattern": "^[0-9a-fA-F]{32}$",
                },
            },
            "additionalProperties": false,
        },
        "Appended": {
            "type": "object",
            "required": ["position", "count"],
            "properties": {
                "position": described(
                    "The position after the last record of the request; \
                     0 if the request had no record.",
                    &position,
                ),
                "count": described("The number of appended records.", &position),
            },
        },
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": { "status": { "type": "string", "const": "ok" } },
        },
        "Readiness": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": { "type": "string", "enum": ["ok", "degraded"] },
                "logs": {
                    "description": "The logs that are not `ok`; absent if there are none.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "status"],
                        "properties": { "name": name(), "status": status },
                    },
                },
            },
        },
        "Version": {
            "type": "object",
            "required": ["version", "features", "limits"],
            "properties": {
                "version": { "type": "string" },
                "features": {
                    "description": "Protocols, codecs and optional features. \
                                    Later versions may add words.",
                    "type": "array",
                    "items": { "type": "string" },
                },
                "limits": {
                    "type": "object",
                    "required": ["max_record_size", "max_block_size"],
                    "properties": {
                        "max_record_size": described(
                            "The largest `max_record_size` with which a log can be created.",
                            &position,
                        ),
                        "max_block_size": described(
                            "The most bytes of records in a block: \
                             a record counts its payload and 8 bytes.",
                            &position,
                        ),
                    },
                },
            },
        },
        "Status": status::schema(&info, &cursor),
        "OpenApi": { "type": "object" },
        "Bytes": { "type": "string", "format": "binary" },
        "Text": { "type": "string" },
        "Lines": { "type": "string" },
        "Error": error(&position),
    })
}

/// The code and the message of an error, and the facts that some errors have.
fn error(position: &Value) -> Value {
    let codes: Vec<_> = Code::all().map(Code::as_str).collect();
    json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "string", "description": "For programs; stable.", "enum": codes },
            "message": {
                "type": "string",
                "description": "For people: what happened and what to do.",
            },
            "start_position": position,
            "end_position": position,
            "fork_position": described(
                "With `log_changed`: the position up to which the log is the same as the expected \
                 one, from which it was restored.",
                position,
            ),
            "position": described(
                "After an append: the position after the last appended record. \
                 After a read: the damaged record. \
                 With `cursor_taken`: where the cursor is.",
                position,
            ),
            "grant": {
                "type": "string",
                "description": "With `forbidden`: the missing grant, such as `append:orders`.",
            },
            "limit": {
                "type": "string",
                "description": "With `too_many_requests` and `quota_exceeded`: the key of the \
                    limits file.",
            },
            "limit_value": described("The value of this key.", position),
            "version": described("The version of the cursor.", position),
            "replaced_version": described(
                "The version of the cursor before its last change; 0 if there was none.",
                position,
            ),
            "count": described("The number of records that were appended all the same.", position),
            "expected_sequence": position,
            "status": { "type": "string", "description": "The status of the log." },
        },
    })
}

/// A creation in JSON: it may also have the form in which a log is described.
fn new_log_of_json(info: &Value) -> Value {
    let or_null = |schema| json!({ "anyOf": [schema, { "type": "null" }] });
    let mut new_log = new_log(or_null);
    let description = json!({ "description": "It describes a log; it is ignored." });
    let sent = keys(info).into_iter().map(String::as_str);
    for field in sent.chain(["timestamp_first", "timestamp_last", "archived_position"]) {
        if field != "name" {
            new_log["properties"][field] = description.clone();
        }
    }
    let nested = json!({
        "type": "object",
        "properties": config(or_null),
        "additionalProperties": false,
    });
    let about = "The fields of the configuration. A field may be here or beside it, \
                 or have the same value in both places.";
    new_log["properties"]["config"] = described(about, &or_null(nested));
    new_log["additionalProperties"] = false.into();
    new_log
}

fn new_log(value: impl Fn(Value) -> Value) -> Value {
    let mut properties = config(value);
    properties.insert("name".to_owned(), name());
    json!({ "type": "object", "required": ["name"], "properties": properties })
}

/// The fields of a configuration. `value` makes the schema of a value that a
/// request may hold.
fn config(value: impl Fn(Value) -> Value) -> Map<String, Value> {
    let mut default = LogConfig::default();
    let fields = CONFIG.iter().map(|(field, description)| {
        let mut schema = described(description, &value(range(field)));
        schema["default"] = default.field_mut(field).map(|default| *default).into();
        ((*field).to_owned(), schema)
    });
    fields.collect()
}

/// What [`LogConfig::validate`] accepts.
fn range(field: &str) -> Value {
    let limited = |min: i64, max: i64| json!({ "type": "integer", "minimum": min, "maximum": max });
    match field {
        "max_record_size" => limited(9, i64::try_from(MAX_RECORD_SIZE_MAX).unwrap_or(i64::MAX)),
        "index_after_size" => limited(1, CONFIG_VALUE_MAX),
        _ => json!({ "anyOf": [
            limited(1, CONFIG_VALUE_MAX),
            { "type": "integer", "const": -1, "description": "No limit." },
        ] }),
    }
}

pub(super) fn described(description: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["description"] = description.into();
    schema
}

pub(super) fn keys(object: &Value) -> Vec<&String> {
    object.as_object().map(|object| object.keys().collect()).unwrap_or_default()
}
