//! `GET /openapi.json`: the API described for machines.
//!
//! One row an operation; what is the same for all (the name in the path, the
//! identity headers, the error's form) is added to each. A test holds the rows
//! against the table of routes.

use std::sync::OnceLock;

use styx_protocol::{LogConfig, media_type as media};
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ComponentsBuilder, ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::{Content, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr, Required};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A parameter: its name and what it means.
type Param = (&'static str, &'static str);

struct Row {
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    query: &'static [Param],
    headers: &'static [Param],
    /// Media types of the request's body.
    takes: &'static [&'static str],
    /// Media type and schema (empty: bytes) of the answer's forms.
    gives: &'static [(&'static str, &'static str)],
}

const GET: HttpMethod = HttpMethod::Get;
const POST: HttpMethod = HttpMethod::Post;

const NONE: Row =
    Row { method: GET, path: "", summary: "", query: &[], headers: &[], takes: &[], gives: &[] };

const PLACE: [Param; 2] = [
    ("whence", "What position is relative to: origin (default), start, end, or time"),
    ("position", "Records relative to whence; with time: µs since the epoch or RFC 3339"),
];

fn rows() -> [Row; 15] {
    [
        Row {
            path: "/logs",
            summary: "All logs, sorted by name",
            gives: &[(JSON, "LogList")],
            ..NONE
        },
        Row {
            method: POST,
            path: "/logs",
            summary: "Create a log",
            takes: &[FORM, JSON],
            gives: &[(JSON, "LogInfo")],
            ..NONE
        },
        Row {
            path: "/logs/{name}",
            summary: "What is known about a log",
            query: &[("details", "true: with configuration and times")],
            gives: &[(JSON, "LogInfo")],
            ..NONE
        },
        Row {
            method: HttpMethod::Delete,
            path: "/logs/{name}",
            summary: "Delete a log and end its readers and writers",
            ..NONE
        },
        Row {
            method: POST,
            path: "/logs/{name}/truncate",
            summary: "Remove all records; positions start again at 0",
            ..NONE
        },
        Row {
            method: POST,
            path: "/logs/{name}/trim",
            summary: "Remove whole segments before a position",
            query: &[("position", "Records before it may go")],
            gives: &[(JSON, "LogInfo")],
            ..NONE
        },
        Row {
            path: "/logs/{name}/backup",
            summary: "A consistent copy of the log as tar.gz",
            gives: &[("application/gzip", "")],
            ..NONE
        },
        Row {
            method: POST,
            path: "/logs/restore",
            summary: "Make a log of a backup",
            query: &[("name", "The new log's name")],
            takes: &["application/gzip"],
            ..NONE
        },
        Row {
            method: POST,
            path: "/logs/{name}/records",
            summary: "Append records; answered when they are on stable storage",
            headers: &[
                ("X-Styx-Expected-Position", "Append only if the log ends here"),
                ("X-Styx-Producer", "Id of an idempotent producer"),
                ("X-Styx-Epoch", "The producer's epoch"),
                ("X-Styx-Sequence", "Number of the request's first record"),
                ("Content-Encoding", "gzip or zstd"),
            ],
            takes: &[
                media::OCTET_STREAM,
                media::BINARY_RECORDS,
                media::LINE_DELIMITED,
                media::NDJSON,
            ],
            gives: &[(JSON, "Written")],
            ..NONE
        },
        Row {
            path: "/logs/{name}/records",
            summary: "Read one record, many, or follow the log",
            query: &[
                PLACE[0],
                PLACE[1],
                ("count", "At most so many records; negative: no limit"),
                ("follow", "Wait for new records"),
                ("encoding", "base64: how events hold records"),
            ],
            headers: &[
                ("X-Styx-Timeout", "Seconds to wait with follow; -1: no limit"),
                ("Last-Event-ID", "Where events go on"),
            ],
            gives: &[
                (media::OCTET_STREAM, ""),
                (media::BINARY_RECORDS, ""),
                (media::LINE_DELIMITED, ""),
                (media::EVENT_STREAM, ""),
            ],
            ..NONE
        },
        Row {
            path: "/metrics",
            summary: "Metrics for Prometheus",
            gives: &[("text/plain", "")],
            ..NONE
        },
        Row {
            path: "/health/live",
            summary: "Whether the server runs",
            gives: &[(JSON, "Health")],
            ..NONE
        },
        Row {
            path: "/health/ready",
            summary: "Whether every log has been opened",
            gives: &[(JSON, "Health")],
            ..NONE
        },
        Row {
            path: "/version",
            summary: "The server's version",
            gives: &[(JSON, "Version")],
            ..NONE
        },
        Row { path: "/openapi.json", summary: "This document", gives: &[(JSON, "")], ..NONE },
    ]
}

/// The document; made once.
pub(super) fn document() -> &'static OpenApi {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let info = InfoBuilder::new()
            .title("Styx")
            .description(Some("An event streaming database: logs of records behind a REST API"))
            .version(env!("CARGO_PKG_VERSION"));
        let mut paths = PathsBuilder::new();
        for row in rows() {
            paths = paths.path(row.path, PathItem::new(row.method.clone(), operation(&row)));
        }
        OpenApiBuilder::new()
            .info(info.build())
            .paths(paths.build())
            .components(Some(components().build()))
            .build()
    })
}

fn operation(row: &Row) -> OperationBuilder {
    let mut operation = OperationBuilder::new().summary(Some(row.summary));
    let of_a_log = row.path.contains("{name}");
    if of_a_log {
        operation = operation
            .parameter(parameter(ParameterIn::Path, ("name", "The log's name"), Required::True))
            .parameter(parameter(
                ParameterIn::Header,
                ("X-Styx-Log-Id", "The log's id as it was; another one is 409 log_changed"),
                Required::False,
            ))
            .parameter(parameter(
                ParameterIn::Header,
                ("X-Styx-Known-End", "A durable position; a lower end is 409 log_end_regressed"),
                Required::False,
            ));
    }
    for param in row.query {
        operation = operation.parameter(parameter(ParameterIn::Query, *param, Required::False));
    }
    for param in row.headers {
        operation = operation.parameter(parameter(ParameterIn::Header, *param, Required::False));
    }
    if !row.takes.is_empty() {
        let mut body = RequestBodyBuilder::new();
        for media_type in row.takes {
            let is_config = [JSON, FORM].contains(media_type);
            let schema = if is_config { Ref::from_schema_name("NewLog").into() } else { bytes() };
            body = body.content(*media_type, Content::new(Some(schema)));
        }
        operation = operation.request_body(Some(body.build()));
    }
    let mut success = ResponseBuilder::new().description("Done");
    for (media_type, schema) in row.gives {
        let schema =
            if schema.is_empty() { bytes() } else { Ref::from_schema_name(*schema).into() };
        success = success.content(*media_type, Content::new(Some(schema)));
    }
    let error = RefOr::<Schema>::from(Ref::from_schema_name("Error"));
    let failure = ResponseBuilder::new()
        .description("Not done; the code says why")
        .content(JSON, Content::new(Some(error)));
    operation.response("200", success.build()).response("default", failure.build())
}

fn parameter(place: ParameterIn, param: Param, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(param.0)
        .description(Some(param.1))
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
}

fn components() -> ComponentsBuilder {
    let mut new_log = text(ObjectBuilder::new(), "name").required("name");
    for field in LogConfig::FIELDS {
        new_log = integer(new_log, field);
    }
    let mut info = ObjectBuilder::new();
    for field in ["name", "status"] {
        info = text(info, field).required(field);
    }
    for field in ["record_count", "file_size", "start_position", "end_position"] {
        info = integer(info, field).required(field);
    }
    let written = integer(integer(ObjectBuilder::new(), "position"), "count");
    let error = text(text(ObjectBuilder::new(), "code"), "message");
    let error = error.required("code").required("message");
    ComponentsBuilder::new()
        .schema("LogInfo", info.build())
        .schema("LogList", ArrayBuilder::new().items(Ref::from_schema_name("LogInfo")).build())
        .schema("NewLog", new_log.build())
        .schema("Written", written.required("position").required("count").build())
        .schema("Health", text(ObjectBuilder::new(), "status").required("status").build())
        .schema("Version", text(ObjectBuilder::new(), "version").required("version").build())
        .schema("Error", error.build())
}

fn integer(object: ObjectBuilder, name: &str) -> ObjectBuilder {
    object.property(name, ObjectBuilder::new().schema_type(Type::Integer).build())
}

fn text(object: ObjectBuilder, name: &str) -> ObjectBuilder {
    object.property(name, ObjectBuilder::new().schema_type(Type::String).build())
}

fn bytes() -> RefOr<Schema> {
    Schema::from(ObjectBuilder::new().schema_type(Type::String).build()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use styx_protocol::{LogInfo, LogStatus};

    use super::super::route::Route;
    use super::*;

    #[test]
    fn the_document_and_the_routes_agree() {
        let document = serde_json::to_value(document()).expect("JSON");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("methods").keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut routed = BTreeSet::new();
        for route in Route::ALL {
            for method in route.allowed().split(", ").filter(|method| *method != "HEAD") {
                routed.insert(format!("{method} {}", route.template));
            }
        }
        assert_eq!(described, routed);
    }

    #[test]
    fn the_schema_of_a_log_has_the_fields_that_are_sent() {
        let info = LogInfo {
            name: "a".to_owned(),
            status: LogStatus::Ok,
            record_count: 0,
            file_size: 0,
            start_position: 0,
            end_position: 0,
        };
        let sent = serde_json::to_value(info).expect("JSON");
        let document = serde_json::to_value(document()).expect("JSON");
        let described = &document["components"]["schemas"]["LogInfo"]["properties"];
        let names = |value: &serde_json::Value| -> BTreeSet<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        assert_eq!(names(described), names(&sent));
    }
}
