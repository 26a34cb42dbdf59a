//! `GET /openapi.json`: the API described for programs.
//!
//! ```text
//! operations   one row for each path and method, with the type `operation`
//! parameters   what requests carry: types, ranges, defaults, examples
//! responses    headers of answers, and the error answer of each status
//! schemas      the JSON bodies
//! ```
//!
//! The rows refer to parameters, responses and schemas by name. Facts that the
//! code already has (error codes, defaults of a log, media types) come from it.
//! The tests compare the document with the routes and with what the server sends.
//! `cargo xtask test --only schemathesis` compares it with a running server.

mod operation;
mod operations;
mod parameters;
mod responses;
mod schemas;
mod status;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use operations::OPERATIONS;

/// The document. It is built once.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Styx",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "An event streaming database: logs of records behind a REST API.\n\n\
                    Names of query and form parameters may have any letter case. \
                    Unknown parameters are ignored. An empty value means the default, in headers too. \
                    A boolean may also be written `1`, `t`, `T`, `True`, `TRUE`, \
                    `0`, `f`, `F`, `False` or `FALSE`.",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": paths(),
            // Optional, because access control may be off.
            "security": [{}, { "token": [] }],
            "components": {
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A token from `styx token create`. \
                            A server without access control needs none.",
                    },
                },
                "parameters": parameters::all(),
                "headers": responses::headers(),
                "responses": responses::errors(),
                "schemas": schemas::all(),
            },
        })
    })
}

fn paths() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = operation.describe();
        if operation.has_head {
            item["head"] = operation.describe_head();
        }
    }
    paths.into()
}

/// A reference to a component: `reference("schemas", "LogInfo")`.
fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

#[cfg(test)]
mod tests;
