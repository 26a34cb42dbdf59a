//! Runs the loom models of `styx_engine::models`, which test the hand-offs between threads in every
//! order of the threads' steps. Compiled only with the feature `loom`: run `cargo xtask test
//! --only loom`.

use styx_engine::models;

#[test]
fn every_append_is_completed() {
    models::every_append_is_completed();
}

#[test]
fn two_committers_leave_no_request_behind() {
    models::two_committers_leave_no_request_behind();
}

#[test]
fn an_append_that_finds_the_queue_full_gets_space() {
    models::an_append_that_finds_the_queue_full_gets_space();
}

#[test]
fn a_task_that_waits_for_the_committer_is_woken() {
    models::a_task_that_waits_for_the_committer_is_woken();
}

#[test]
fn a_result_is_delivered_once_and_wakes_its_waiter() {
    models::a_result_is_delivered_once_and_wakes_its_waiter();
}

#[test]
fn a_follower_sees_every_commit() {
    models::a_follower_sees_every_commit();
}

#[test]
fn every_position_below_the_end_can_be_read() {
    models::every_position_below_the_end_can_be_read();
}

#[test]
fn a_trim_leaves_every_commit_readable() {
    models::a_trim_leaves_every_commit_readable();
}

#[test]
fn closing_a_log_wakes_its_followers() {
    models::closing_a_log_wakes_its_followers();
}
