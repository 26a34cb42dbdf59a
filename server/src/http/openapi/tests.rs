use std::collections::BTreeSet;

use http::Method;
use styx_protocol::{CursorInfo, LogConfig, LogId, LogInfo, LogStatus};

use super::super::route::Route;
use super::*;

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

/// Calls `visit` with every object in the document.
fn visit_objects(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            visit(value);
            object.values().for_each(|value| visit_objects(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| visit_objects(value, visit)),
        _ => {}
    }
}

#[test]
fn the_document_has_exactly_the_methods_of_each_route() {
    let documented: BTreeSet<String> = names(&document()["paths"]);
    let routed = Route::ALL.iter().map(|route| route.template.to_owned()).collect();
    assert_eq!(documented, routed);
    for route in Route::ALL {
        let documented = names(&document()["paths"][route.template]);
        let routed = route.methods().map(|method| method.as_str().to_lowercase()).collect();
        assert_eq!(documented, routed, "{}", route.template);
    }
}

#[test]
fn allow_lists_exactly_the_documented_methods() {
    for (path, item) in document()["paths"].as_object().expect("paths") {
        let documented: BTreeSet<String> = names(item).iter().map(|m| m.to_uppercase()).collect();
        let asked = path.replace("{name}", "a-log");
        for method in [Method::OPTIONS, Method::PUT, Method::PATCH] {
            let (route, _) = Route::find(&asked, &method).expect("a route");
            let allowed = route.allowed().split(", ").map(str::to_owned).collect();
            assert_eq!(documented, allowed, "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_to_a_component() {
    let mut references = 0;
    visit_objects(document(), &mut |object| {
        if let Some(reference) = object["$ref"].as_str() {
            references += 1;
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document().pointer(pointer).is_some(), "{reference}");
        }
    });
    assert!(references > 100, "{references}");
}

#[test]
fn operation_ids_are_unique_and_links_name_one() {
    let mut ids = BTreeSet::new();
    let mut linked = BTreeSet::new();
    visit_objects(&document()["paths"], &mut |object| {
        let Some(id) = object["operationId"].as_str() else { return };
        if object.get("responses").is_some() {
            assert!(ids.insert(id.to_owned()), "{id}");
        } else {
            linked.insert(id.to_owned());
        }
    });
    assert!(linked.is_subset(&ids), "{linked:?} {ids:?}");
}

#[test]
fn no_parameter_and_no_header_is_a_free_string() {
    let components = &document()["components"];
    for kind in ["parameters", "headers"] {
        for (name, component) in components[kind].as_object().expect("components") {
            let either = &component["schema"]["anyOf"][0];
            let schema = if either.is_null() { &component["schema"] } else { either };
            let is_bounded = ["pattern", "enum", "maxLength"].iter().any(|k| !schema[k].is_null());
            let is_typed = schema["type"].as_str().is_some_and(|kind| kind != "string");
            assert!(is_typed || is_bounded, "{name}: {schema}");
        }
    }
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
    let sent = names(&serde_json::to_value(info).expect("JSON"));
    let schemas = &document()["components"]["schemas"];
    assert_eq!(names(&schemas["LogInfo"]["properties"]), sent);

    let cursor = CursorInfo {
        cursor: "c".to_owned(),
        log_id: LogId(1),
        position: 0,
        updated: 0,
        version: 1,
    };
    let sent = names(&serde_json::to_value(cursor).expect("JSON"));
    assert_eq!(names(&schemas["Cursor"]["properties"]), sent);

    let sent = serde_json::to_value(LogConfig::default()).expect("JSON");
    assert_eq!(names(&schemas["LogConfig"]["properties"]), names(&sent));
    for (field, value) in sent.as_object().expect("an object") {
        for schema in ["LogConfig", "NewLog", "NewLogForm"] {
            let default = &schemas[schema]["properties"][field]["default"];
            assert_eq!(default, value, "{schema} {field}");
        }
    }
}

#[test]
fn the_documented_ranges_of_a_configuration_are_those_that_the_server_accepts() {
    let properties = &document()["components"]["schemas"]["LogConfig"]["properties"];
    let is_accepted = |field: &str, value: i64| {
        let mut config = LogConfig::default();
        *config.field_mut(field).expect("a field") = value;
        config.validate().is_ok()
    };
    for field in LogConfig::FIELDS {
        let schema = &properties[field];
        let no_limit = schema["anyOf"][1]["const"].as_i64();
        let range = if no_limit.is_some() { &schema["anyOf"][0] } else { schema };
        let min = range["minimum"].as_i64().expect("a minimum");
        let max = range["maximum"].as_i64().expect("a maximum");
        for (value, expected) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
            assert_eq!(is_accepted(field, value), expected, "{field} {value}");
        }
        assert_eq!(is_accepted(field, -1), no_limit == Some(-1), "{field}");
        assert!(!is_accepted(field, 0) && !is_accepted(field, -2), "{field}");
    }
}

#[test]
fn every_code_is_documented_with_its_status() {
    let responses = &document()["components"]["responses"];
    for code in styx_protocol::Code::all() {
        let response = &responses[format!("Error{}", code.http_status())];
        let codes = &response["content"]["application/json"]["schema"]["properties"]["code"];
        let is_listed = codes["enum"].as_array().expect("codes").contains(&code.as_str().into());
        let by_clients_alone = code == styx_protocol::Code::ProducerUnknown;
        assert_eq!(is_listed, !by_clients_alone, "{}", code.as_str());
    }
}
