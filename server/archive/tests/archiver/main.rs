//! The archive against stores: a directory, an S3 server in memory that fails on order, and the
//! real `versitygw` if `STYX_TEST_VERSITYGW` names its binary.

mod adopting;
mod archiving;
mod collecting;
mod conditional;
mod copying;
mod looking;
mod reading;
mod replica;
mod restoring;
mod s3;
mod stores;
mod succeeding;
mod undeleting;
mod versitygw;
