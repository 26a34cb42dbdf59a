//! The operations: one row for each path and method.

use styx_protocol::media_type as media;

use super::operation::{DELETE, GET, Operation, POST, PUT, Request};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const GZIP: &str = "application/gzip";

/// Statuses of errors of a request that names a log.
const OF_A_LOG: &[u16] = &[400, 404, 409];

const LOG: &[&str] = &["LogName", "LogId", "KnownEnd"];
const OF_A_CURSOR: &[&str] = &["LogName", "CursorName", "LogId", "KnownEnd"];
/// As [`LOG`], for the path of the log that is named `restore`.
const LOG_RESTORE: &[&str] = &["LogId", "KnownEnd"];

const LOG_ID: &[&str] = &["X-Styx-Log-Id"];
const VERSION: &[&str] = &["X-Styx-Log-Id", "ETag"];
const POSITIONS: &[&str] = &[
    "X-Styx-Log-Id",
    "X-Styx-Restored-From",
    "X-Styx-Start-Position",
    "X-Styx-End-Position",
    "X-Styx-Archived-Position",
    "X-Styx-Next-Position",
];

const CURSOR: &str = "/logs/{name}/cursors/{cursor}";

const GET_LOG: Operation = Operation {
    path: "/logs/{name}",
    id: "getLog",
    summary: "Get the state of a log",
    parameters: &["LogName", "LogId", "KnownEnd", "Details"],
    answer: &[(JSON, "LogDetails")],
    headers: LOG_ID,
    errors: OF_A_LOG,
    ..GET
};
const DELETE_LOG: Operation = Operation {
    path: "/logs/{name}",
    id: "deleteLog",
    summary: "Delete a log",
    description: "Open readers and writers of the log end with an error. \
                  Only the files of the log are removed. \
                  If its directory has other files, they are kept with the directory, and the \
                  answer is 409 although the log is deleted.",
    parameters: LOG,
    headers: LOG_ID,
    errors: OF_A_LOG,
    ..DELETE
};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/logs",
        id: "listLogs",
        summary: "List all logs, sorted by name",
        answer: &[(JSON, "LogList")],
        ..GET
    },
    Operation {
        path: "/logs",
        id: "createLog",
        summary: "Create a log",
        description: "A JSON body may also be the description of another log, from a request with \
                      `details=true`. Other fields in it are an error. \
                      The answer is 409 if the log exists, or if anything else in the data \
                      directory has its name. Nothing that exists is changed.",
        request: Request::Required(&[(FORM, "NewLogForm"), (JSON, "NewLog")]),
        answer: &[(JSON, "LogInfo")],
        headers: LOG_ID,
        errors: &[400, 408, 409, 507],
        links: &[
            "getLog",
            "deleteLog",
            "truncateLog",
            "trimLog",
            "backupLog",
            "listCursors",
            "readRecords",
            "appendRecords",
        ],
        ..POST
    },
    GET_LOG,
    DELETE_LOG,
    Operation {
        path: "/logs/{name}/adopt",
        id: "adoptLog",
        summary: "Serve a log that was put into the data directory",
        description: "For a log's directory, or a symbolic link to one, that the running server \
                      does not serve yet, such as an unpacked backup. \
                      A copy of another log gets a new id. \
                      A log whose status is `unknown` is opened again. \
                      Any other log is returned as it is.",
        parameters: &["LogName"],
        answer: &[(JSON, "LogInfo")],
        headers: LOG_ID,
        errors: &[404, 409, 507],
        ..POST
    },
    Operation {
        path: "/logs/{name}/truncate",
        id: "truncateLog",
        summary: "Remove all records of a log",
        description: "Positions start again at 0, and the log gets a new id. \
                      Open readers and writers of the log end with an error.",
        parameters: LOG,
        headers: LOG_ID,
        errors: &[400, 404, 409, 507],
        ..POST
    },
    Operation {
        path: "/logs/{name}/trim",
        id: "trimLog",
        summary: "Remove whole segments before a position",
        description: "Positions of the other records stay as they are.",
        parameters: &["LogName", "LogId", "KnownEnd", "TrimPosition"],
        answer: &[(JSON, "LogInfo")],
        headers: LOG_ID,
        errors: &[400, 404, 409, 416],
        ..POST
    },
    Operation {
        path: "/logs/{name}/backup",
        id: "backupLog",
        summary: "Download a consistent copy of a log",
        description: "The copy ends at the durable end of the log. Appends go on meanwhile.",
        parameters: LOG,
        answer: &[(GZIP, "Bytes")],
        headers: &["X-Styx-Log-Id", "Content-Disposition"],
        errors: OF_A_LOG,
        ..GET
    },
    Operation {
        path: "/logs/restore",
        id: "restoreLog",
        summary: "Create a log from a backup",
        description: "The server verifies the archive while it reads it. \
                      After an error nothing of the new log remains.",
        parameters: &["NewName"],
        request: Request::Required(&[(GZIP, "Bytes")]),
        headers: LOG_ID,
        errors: &[400, 408, 409, 507],
        ..POST
    },
    // A log may be named `restore`, and this path is also its path.
    Operation {
        path: "/logs/restore",
        id: "getLogNamedRestore",
        summary: "Get the state of the log that is named `restore`",
        parameters: &["LogId", "KnownEnd", "Details"],
        ..GET_LOG
    },
    Operation {
        path: "/logs/restore",
        id: "deleteLogNamedRestore",
        summary: "Delete the log that is named `restore`",
        parameters: LOG_RESTORE,
        ..DELETE_LOG
    },
    Operation {
        path: "/logs/{name}/cursors",
        id: "listCursors",
        summary: "List all cursors of a log, sorted by name",
        description: "A cursor with another `log_id` than the log is older than the log.",
        parameters: LOG,
        answer: &[(JSON, "CursorList")],
        headers: LOG_ID,
        errors: OF_A_LOG,
        ..GET
    },
    Operation {
        path: CURSOR,
        id: "getCursor",
        summary: "Get a cursor",
        description: "The answer is 409 `log_changed` if the log was truncated after the cursor \
                      was set.",
        parameters: OF_A_CURSOR,
        answer: &[(JSON, "Cursor")],
        headers: VERSION,
        errors: OF_A_LOG,
        ..GET
    },
    Operation {
        path: CURSOR,
        id: "setCursor",
        summary: "Create or move a cursor",
        description: "The answer comes when the cursor is on stable storage. \
                      `If-Match` and `If-None-Match` make the change conditional; only one of them \
                      may be given. \
                      A position after the end of the log is answered with 400. \
                      A log has at most 1000 cursors.",
        parameters: &["LogName", "CursorName", "LogId", "KnownEnd", "IfMatch", "IfNoneMatch"],
        request: Request::Required(&[(JSON, "NewPosition")]),
        answer: &[(JSON, "Cursor")],
        headers: VERSION,
        errors: &[400, 404, 408, 409, 412, 507],
        ..PUT
    },
    Operation {
        path: CURSOR,
        id: "deleteCursor",
        summary: "Delete a cursor",
        parameters: &["LogName", "CursorName", "LogId", "KnownEnd", "IfMatch"],
        headers: LOG_ID,
        errors: &[400, 404, 409, 412, 507],
        ..DELETE
    },
    Operation {
        path: "/logs/{name}/records",
        id: "appendRecords",
        summary: "Append records to a log",
        description: "The answer comes when all records are on stable storage. \
                      The `Content-Type` says how the body holds the records: any type that is \
                      not listed makes the whole body one record. \
                      The `line-ending` parameter of the line-delimited type is `lf` (the \
                      default), `cr` or `crlf`. \
                      The body may be compressed with `Content-Encoding: gzip` or `zstd`. \
                      Lines of a body without `Content-Length`, expected position and producer \
                      are appended while they arrive. \
                      `X-Styx-Producer` and `X-Styx-Sequence` go together, and \
                      `X-Styx-Epoch` needs both. \
                      With `Upgrade: websocket`, `styx/0` or `styx/1` the request opens a stream.",
        parameters: &[
            "LogName",
            "LogId",
            "KnownEnd",
            "ExpectedPosition",
            "Producer",
            "Epoch",
            "Sequence",
        ],
        request: Request::Optional(&[
            (media::OCTET_STREAM, "Bytes"),
            (media::BINARY_RECORDS, "Bytes"),
            (media::LINE_DELIMITED, "Lines"),
            (media::NDJSON, "Lines"),
        ]),
        answer: &[(JSON, "Appended")],
        headers: LOG_ID,
        errors: &[400, 403, 404, 408, 409, 413, 426, 507],
        ..POST
    },
    Operation {
        path: "/logs/{name}/records",
        id: "readRecords",
        summary: "Read one record or many, or follow a log",
        description: "The `Accept` header says how many records the answer holds, and how. \
                      Without one of the listed types it is the one record at the position, \
                      or nothing at the end of the log. \
                      The `line-ending` parameter of the line-delimited type is `lf` (the \
                      default), `cr` or `crlf`. \
                      With `Upgrade: websocket`, `styx/0` or `styx/1` the request opens a stream.",
        parameters: &[
            "LogName",
            "LogId",
            "KnownEnd",
            "Whence",
            "ReadPosition",
            "Count",
            "Follow",
            "Encoding",
            "EventIds",
            "Timeout",
            "LastEventId",
        ],
        answer: &[
            (media::OCTET_STREAM, "Bytes"),
            (media::BINARY_RECORDS, "Bytes"),
            (media::LINE_DELIMITED, "Bytes"),
            (media::EVENT_STREAM, "Text"),
        ],
        headers: POSITIONS,
        errors: &[400, 403, 404, 409, 416, 426],
        ..GET
    },
    Operation {
        path: "/metrics",
        has_head: true,
        id: "getMetrics",
        summary: "Metrics in the text format of Prometheus",
        answer: &[("text/plain", "Text")],
        ..GET
    },
    Operation {
        path: "/status",
        id: "getStatus",
        summary: "The server and its logs in numbers, for `styx top` and scripts",
        description: "Counters begin at 0 when the server starts: subtract those of two answers \
                      to get rates. \
                      The logs are those for which the token has the grant `observe`. \
                      With `log` there is only this log, and its `details`.",
        parameters: &["OneLog"],
        answer: &[(JSON, "Status")],
        errors: &[404],
        ..GET
    },
    Operation {
        path: "/health/live",
        has_head: true,
        id: "getLiveness",
        summary: "Whether the server runs",
        answer: &[(JSON, "Health")],
        ..GET
    },
    Operation {
        path: "/health/ready",
        has_head: true,
        id: "getReadiness",
        summary: "Whether the server has opened every log, and the logs that are not `ok`",
        parameters: &["Strict"],
        answer: &[(JSON, "Readiness")],
        errors: &[400],
        ..GET
    },
    Operation {
        path: "/version",
        has_head: true,
        id: "getVersion",
        summary: "The version of the server, its features and its limits",
        answer: &[(JSON, "Version")],
        ..GET
    },
    Operation {
        path: "/openapi.json",
        has_head: true,
        id: "getOpenApi",
        summary: "This document",
        answer: &[(JSON, "OpenApi")],
        ..GET
    },
];
