//! The hand-offs between threads in every order of their steps; see
//! `styx_engine::models`. Built with `--cfg loom` alone: `cargo xtask test --only loom`.
#![cfg(loom)]

use styx_engine::models;

#[test]
fn every_append_is_answered() {
    models::every_append_is_answered();
}

#[test]
fn two_committers_leave_nothing_behind() {
    models::two_committers_leave_nothing_behind();
}

#[test]
fn who_finds_the_queue_full_gets_its_turn() {
    models::who_finds_the_queue_full_gets_its_turn();
}

#[test]
fn who_waits_for_the_committer_is_woken() {
    models::who_waits_for_the_committer_is_woken();
}

#[test]
fn an_answer_comes_once_and_wakes_who_waits() {
    models::an_answer_comes_once_and_wakes_who_waits();
}

#[test]
fn a_follower_sees_every_commit() {
    models::a_follower_sees_every_commit();
}

#[test]
fn an_end_that_is_seen_can_be_read() {
    models::an_end_that_is_seen_can_be_read();
}

#[test]
fn a_log_that_ends_wakes_its_followers() {
    models::a_log_that_ends_wakes_its_followers();
}
