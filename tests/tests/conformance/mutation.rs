//! The suite can fail: drivers that are wrong in one way are reported. The mistakes are made
//! between the driver and the runner, so that no driver has code for them.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::drivers::{self, Availability, Driver};
use crate::session::Session;
use crate::{SCENARIOS, expectation, matrix, scenario, vectors};

/// The Rust driver, whose answers are changed.
fn wrong(change: fn(&mut Value)) -> Driver {
    Driver { name: "wrong", command: drivers::rust, change: Some(change) }
}

/// A driver that is this shell command.
fn shell(command: fn() -> Result<Command, String>) -> Driver {
    Driver { name: "shell", command, change: None }
}

/// The scenario must fail with this change, and its report contains `part`.
#[track_caller]
fn check(name: &str, change: fn(&mut Value), part: &str) {
    let report = scenario::run(name, &wrong(change)).expect_err("the mistake is not noticed");
    assert!(report.contains(part) && report.contains("driver wrong"), "{report}");
}

#[test]
fn a_lost_record_is_reported() {
    let change = |answer: &mut Value| {
        answer["ok"]["records"].as_array_mut().map(Vec::pop);
    };
    check("append_send_flush", change, "expected 6 values, got 5");
    check("dropped_connection_of_a_consumer", change, "expected 50 values, got 49");
}

#[test]
fn records_in_another_order_are_reported() {
    let change = |answer: &mut Value| {
        if let Some(records) = answer["ok"]["records"].as_array_mut() {
            records.reverse();
        }
    };
    check("append_send_flush", change, "is followed by");
}

#[test]
fn a_repeated_record_is_reported() {
    let change = |answer: &mut Value| {
        let records = answer["ok"]["records"].as_array_mut();
        if let Some(records) = records.filter(|records| !records.is_empty()) {
            records.insert(0, records[0].clone());
        }
    };
    check("append_send_flush", change, "is followed by");
}

#[test]
fn a_changed_payload_is_reported() {
    let change = |answer: &mut Value| {
        if let Some(payload) = answer["ok"].pointer_mut("/records/0/payload") {
            *payload = "00".into();
        }
    };
    check("append_send_flush", change, ".records[0].payload");
    let report = matrix::compare(&matrix::similar(), &json!({}), &[&wrong(change)]);
    let report = report.expect_err("the digests differ");
    assert!(report.contains("written by wrong, read by wrong"), "{report}");
}

#[test]
fn a_wrong_position_is_reported() {
    let change = |answer: &mut Value| {
        if let Some(position) = answer["ok"]["position"].as_u64() {
            answer["ok"]["position"] = (position + 1).into();
        }
    };
    check("append_send_flush", change, ".position: expected 1, got 2");
}

#[test]
fn wrong_attributes_of_errors_are_reported() {
    /// Changes a field of an error.
    macro_rules! with {
        ($name:literal: $value:expr) => {
            |answer: &mut Value| {
                if answer["error"].is_object() {
                    answer["error"][$name] = $value.into();
                }
            }
        };
    }
    check("missing_logs", with!("code": "unknown_error"), ".code: expected \"log_not_found\"");
    check("missing_logs", with!("retriable": true), ".retriable: expected false");
    check("missing_logs", with!("maybe_appended": true), ".maybe_appended: expected false");
    check("out_of_range", with!("end_position": 7), ".end_position: expected 40");
}

#[test]
fn wrong_results_of_vectors_are_reported() {
    let lost = |answer: &mut Value| {
        answer["ok"]["records"].as_array_mut().map(Vec::pop);
    };
    let report = vectors::blocks_to_a_consumer(&wrong(lost)).expect_err("records are lost");
    assert!(report.contains("as a producer sends it") && report.contains("zstd"), "{report}");
    vectors::streams_cut_anywhere(&wrong(lost)).expect_err("records are lost");
    let moved = |answer: &mut Value| {
        if answer["ok"]["position"].is_u64() {
            answer["ok"]["position"] = 0.into();
        }
    };
    let report = vectors::blocks_of_a_producer(&wrong(moved)).expect_err("acks are wrong");
    assert!(report.contains("one record"), "{report}");
    let wrong_code = |answer: &mut Value| {
        if answer["error"].is_object() {
            answer["error"]["code"] = "closed".into();
        }
    };
    vectors::frames_to_a_producer(&wrong(wrong_code)).expect_err("codes are wrong");
    vectors::frames_to_a_consumer(&wrong(wrong_code)).expect_err("codes are wrong");
}

#[test]
fn an_error_that_is_not_raised_is_reported() {
    check("missing_logs", |answer| *answer = json!({ "ok": {} }), "but must fail");
}

#[test]
fn every_expectation_of_a_scenario_can_fail() {
    let mut compared = 0;
    for name in SCENARIOS {
        let scenario = scenario::read(name).unwrap_or_else(|error| panic!("{error}"));
        let about = scenario["about"].as_str().unwrap_or_default();
        assert!(about.ends_with('.'), "{name} does not say what it is about");
        for step in scenario["steps"].as_array().into_iter().flatten() {
            let fails = &step["fails"];
            assert!(fails.is_null() || fails["code"].is_string(), "{name}: {step} needs a code");
            for expected in [&step["gives"], &step["until"]] {
                // Empty: only that the operation succeeds.
                if expected.as_object().is_some_and(|fields| !fields.is_empty()) {
                    let checked = expectation::check(expected, &json!({}));
                    assert!(checked.is_err(), "{name}: every answer matches {step}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 100, "{compared} expectations are too few");
}

/// The answer of a driver that does nothing is no evidence for anything.
#[test]
fn no_scenario_passes_with_a_driver_that_does_nothing() {
    let nothing = shell(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "while read -r line; do echo '{\"ok\": {}}'; done"]);
        Ok(command)
    });
    let patience = Duration::from_millis(300);
    let passes = |name: &&str| scenario::run_within(name, &nothing, patience).is_ok();
    let passed: Vec<&str> = SCENARIOS.iter().copied().filter(passes).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn a_driver_that_cannot_run_is_reported_and_fails_if_all_must_run() {
    let missing = shell(|| Err("install it".to_owned()));
    let why = "the driver shell cannot run: install it".to_owned();
    assert_eq!(drivers::availability(&missing, false), Availability::No(why.clone()));
    assert_eq!(drivers::availability(&missing, true), Availability::Missing(why));
}

#[test]
fn a_driver_that_dies_is_reported_with_its_standard_error() {
    let dies = shell(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r line; echo 'out of luck' >&2; exit 3"]);
        Ok(command)
    });
    let report = Session::start(&dies).err().expect("it does not answer");
    assert!(report.contains("ended before it answered"), "{report}");
    assert!(report.contains("out of luck") && report.contains("\"hello\""), "{report}");
}

#[test]
fn a_driver_that_hangs_is_ended_and_reported() {
    let hangs = shell(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r line; echo waiting >&2; read -r line"]);
        Ok(command)
    });
    let session = Session::start_within(&hangs, Duration::from_secs(2));
    let report = session.err().expect("it does not answer");
    assert!(report.contains("did not answer within 2s"), "{report}");
    assert!(report.contains("waiting"), "{report}");
}

#[test]
fn an_answer_that_is_none_is_reported() {
    for (text, part) in [("{}", "not an answer"), ("hello", "not JSON")] {
        let driver = shell(if text == "{}" { || echo("{}") } else { || echo("hello") });
        let report = Session::start(&driver).err().expect("it does not answer");
        assert!(report.contains(part), "{report}");
    }
}

fn echo(text: &str) -> Result<Command, String> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read -r line; echo '{text}'; read -r line")]);
    Ok(command)
}
