//! The headers of answers, and the error answer of each status.

use serde_json::{Map, Value, json};
use styx_protocol::Code;

use super::reference;

/// The headers, by name.
pub(super) fn headers() -> Value {
    let position = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    json!({
        "X-Styx-Log-Id": {
            "description": "The id of the log. \
                It changes when a log is created, restored or truncated.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
        },
        "X-Styx-Start-Position": {
            "description": "The position of the first kept record.",
            "schema": position.clone(),
        },
        "X-Styx-End-Position": {
            "description": "The position that the next record will get.",
            "schema": position.clone(),
        },
        "X-Styx-Restored-From": {
            "description": "The id of the log that the request expects, a colon, and the position \
                up to which this log is the same; only if this log was restored from it.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{32}:[0-9]+$" },
        },
        "X-Styx-Archived-Position": {
            "description": "The records before it are also in the archive; \
                only if the server has an archive.",
            "schema": position.clone(),
        },
        "X-Styx-Next-Position": {
            "description": "Where the next read continues; only after a read that ends by itself.",
            "schema": position,
        },
        "ETag": {
            "description": "The version of the cursor, in quotes.",
            "schema": { "type": "string", "pattern": "^\"[0-9]+\"$" },
        },
        "Content-Disposition": {
            "description": "A file name with the name of the log and the time.",
            "schema": {
                "type": "string",
                "pattern": r"^attachment; filename=[A-Za-z0-9_-]+-[0-9]+\.tar\.gz$",
            },
        },
        "X-Request-Id": {
            "description": "The id of the request in the log of the server. \
                It is the caller's own if the request has one.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        },
        "WWW-Authenticate": {
            "description": "How to authenticate.",
            "schema": {
                "type": "string",
                "pattern": "^Bearer realm=\"styx\"(, error=\"invalid_token\")?$",
            },
        },
        "Retry-After": {
            "description": "Seconds after which the same request may succeed.",
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}

/// A reference to the error answer of a status.
pub(super) fn error(status: u16) -> Value {
    reference("responses", &name(status))
}

/// The error answer of each status, with its codes.
pub(super) fn errors() -> Value {
    let mut statuses: Vec<u16> = Code::all().map(Code::http_status).collect();
    // A request for a protocol that the server does not speak has no code of its own.
    statuses.push(426);
    let errors = statuses.into_iter().map(|status| (name(status), describe(status)));
    Value::Object(errors.collect::<Map<_, _>>())
}

fn name(status: u16) -> String {
    format!("Error{status}")
}

fn describe(status: u16) -> Value {
    // Only clients raise this one.
    let raised = |code: &Code| *code != Code::ProducerUnknown;
    let mut codes: Vec<Code> =
        Code::all().filter(|code| code.http_status() == status).filter(raised).collect();
    if status == 426 {
        codes.push(Code::InvalidParams);
    }
    let meanings = codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning()));
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let mut headers = json!({ "X-Request-Id": reference("headers", "X-Request-Id") });
    if status == 401 {
        headers["WWW-Authenticate"] = reference("headers", "WWW-Authenticate");
    }
    if [429, 503].contains(&status) {
        headers["Retry-After"] = reference("headers", "Retry-After");
    }
    json!({
        "description": meanings.collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": { "application/json": { "schema": {
            "allOf": [reference("schemas", "Error")],
            "properties": { "code": { "enum": names } },
        } } },
    })
}
