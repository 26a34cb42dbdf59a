//! `benchmarks/compare`: the script that measures Styx beside other systems. Only Styx is
//! measured here, briefly: the others must be downloaded and built.

use std::process::Command;

use serde_json::Value;
use styx_tests::cli::{Done, run};

use crate::alone;

fn compare(arguments: &[&str]) -> Done {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../benchmarks/compare");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).args(arguments);
    command.env("STYX_BIN", styx_tests::binary::released());
    run(command, b"")
}

#[test]
fn styx_is_compared_and_a_system_that_cannot_be_had_is_skipped_by_name() {
    let _alone = alone();
    let done = compare(&["--peer", "styx,iggy", "--quick", "--json"]);
    let report: Value = serde_json::from_slice(&done.expect_ok()).expect("JSON");
    assert_eq!((&report["quick"], &report["valid"]), (&true.into(), &false.into()));
    assert!(report["skipped"]["iggy"].as_str().is_some_and(|why| why.contains("crates.io")));
    let [row] = report["rows"].as_array().expect("rows").as_slice() else {
        panic!("Styx has one setting: {report:#}");
    };
    assert_eq!((&row["peer"], &row["setting"]), (&"Styx".into(), &"durable".into()));
    for figure in ["produce", "consume"] {
        for size in ["100", "1000"] {
            assert!(row[figure][size].as_f64() > Some(0.0), "{figure} {size}: {row:#}");
        }
    }
    let crowd = &row["crowd"];
    let (appended, delivered) = (crowd["appended"].as_u64(), crowd["delivered"].as_u64());
    assert_eq!(delivered, appended.map(|count| 10 * count), "10 followers of each stream");
    for load in ["paced", "crowd"] {
        for times in ["ack", "delivery"] {
            let at = |name: &str| row[load][times][name].as_f64().expect("a time");
            assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("p999"));
        }
    }
    assert!(row["memory_crowd"].as_u64() > Some(1 << 20), "{row:#}");
}

#[test]
fn help_names_the_columns_and_unknown_peers_are_refused() {
    let help = compare(&["--help"]).expect_text();
    for word in ["DELIVERY", "CROWD", "MEMORY", "INVALID", "--peer", "--quick"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let refused = compare(&["--peer", "nobody"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("nobody is none of styx, nats, redis"), "{}", refused.stderr);
}
