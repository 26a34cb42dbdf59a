//! The conformance suite: every client library behaves the same, against a real server.
//! tests/conformance/README.md describes the scenarios and the protocol of the drivers.
//!
//! ```text
//! scenario ─▶ runner ─ one JSON a line ─▶ driver ─▶ client library ─▶ proxy ─▶ server
//!               └─ faults: kill, pause, reset, corrupt, fill, … ───────┴────────┘
//! ```
//!
//! | module | what it contains |
//! |---|---|
//! | [`drivers`] | the table of drivers |
//! | [`session`] | a driver as a child process |
//! | [`scenario`], [`world`] | a scenario's steps; its server and faults |
//! | [`payloads`], [`expectation`] | what scenarios send and expect |
//! | [`vectors`] | bytes that a server sends, and bytes that a client must send |
//! | [`matrix`] | written by one driver, read by another |
//! | [`mixed`] | all protocols and drivers at once, for 20 s or for an hour |
//! | [`surface`] | the packages have the same public names |
//! | [`mutation`] | the suite reports drivers that are wrong |

mod drivers;
mod expectation;
mod matrix;
mod mixed;
mod mutation;
mod payloads;
mod scenario;
mod session;
mod surface;
mod vectors;
mod world;

/// Defines a module for each driver, with a test for each scenario and each kind of vectors.
macro_rules! scenarios {
    (drivers { $($driver:ident)* } scenarios $names:tt) => {
        const TESTED_DRIVERS: &[&str] = &[$(stringify!($driver)),*];
        scenarios! { names $names }
        $(
            mod $driver {
                scenarios! { tests $driver $names }
                /// Everything again over TLS, with a server that requires a token.
                mod over_tls_with_tokens {
                    scenarios! { over_tls_with_tokens $driver $names }
                }
                scenarios! { vectors $driver {
                    blocks_to_a_consumer frames_to_a_consumer streams_cut_anywhere
                    blocks_of_a_producer frames_to_a_producer
                } }
            }
        )*
    };
    (names { $($name:ident)* }) => {
        const SCENARIOS: &[&str] = &[$(stringify!($name)),*];
    };
    (tests $driver:ident { $($name:ident)* }) => {
        $(
            #[test]
            fn $name() {
                super::run(stringify!($driver), |driver| {
                    super::scenario::run(stringify!($name), driver)
                });
            }
        )*
    };
    (over_tls_with_tokens $driver:ident { $($name:ident)* }) => {
        $(
            #[test]
            fn $name() {
                crate::run(stringify!($driver), |driver| {
                    crate::scenario::run_over_tls_with_tokens(stringify!($name), driver)
                });
            }
        )*
    };
    (vectors $driver:ident { $($name:ident)* }) => {
        $(
            #[test]
            fn $name() {
                super::run(stringify!($driver), super::vectors::$name);
            }
        )*
    };
}

scenarios! {
    drivers { c node python python_aio rust }
    scenarios {
        append_many
        append_send_flush
        backup_and_restore
        bad_arguments
        checkpoints
        closed_objects
        compression
        connections_cut_often
        corrupt_block
        corrupt_log
        count_and_end
        create_list_get_delete
        create_with_config
        cursor_commit
        cursor_taken
        cursors
        deleted_log
        disk_stays_full
        dropped_connection_of_a_consumer
        dropped_connection_of_a_producer
        empty_and_large_records
        expected_position
        expired_token
        follow
        full_disk
        import_resumes
        killed_server_of_a_consumer
        killed_server_of_a_producer
        lag
        log_changed
        log_recreated_under_a_consumer
        log_recreated_under_a_producer
        log_restored_from_the_archive
        missing_logs
        nobody_listens
        out_of_range
        producer_fenced
        producer_options
        record_too_large
        retention_overtakes_a_consumer
        revoked_token
        seek
        server_stays_away
        silent_server
        slow_server
        starting_points
        stopped_server
        trim_log
        truncate_log
    }
}

/// Runs a test with a driver, unless the driver cannot run here.
fn run(driver: &str, test: impl Fn(&drivers::Driver) -> Result<(), String>) {
    let Some(driver) = drivers::named(driver) else { return };
    if let Err(report) = test(driver) {
        panic!("{report}");
    }
}

/// The names of the entries of a folder, without their extensions, sorted.
fn stems(folder: &std::path::Path) -> Vec<String> {
    let stem = |path: std::path::PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    styx_tests::damage::entries(folder).into_iter().filter_map(stem).collect()
}

#[test]
fn every_scenario_file_has_a_test() {
    assert_eq!(stems(&scenario::folder()), SCENARIOS);
}

#[test]
fn every_driver_in_the_tree_is_tested() {
    let folder = styx_tests::binary::workspace().join("tests/conformance/drivers");
    let mut names: Vec<&str> = drivers::DRIVERS.iter().map(|driver| driver.name).collect();
    names.sort_unstable();
    assert_eq!(stems(&folder), names);
    assert_eq!(TESTED_DRIVERS, names);
}
