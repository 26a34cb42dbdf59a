//! Conditional writes: the register and the probe.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use styx_archive::probe::probe;
use styx_archive::register::{Register, Replaced};
use styx_archive::store::{Kind, Store, Version};

use crate::s3::{Fault, S3};
use crate::stores::{on_every_store, run};

fn register(store: Store) -> Register {
    Register::new(store, "logs/x/manifest".to_owned(), 1 << 20, Duration::from_secs(20))
}

fn written(replaced: Replaced) -> Version {
    match replaced {
        Replaced::Written(version) => version,
        Replaced::Lost(current) => panic!("the write was lost: {current:?}"),
    }
}

#[test]
fn register_is_created_replaced_and_read() {
    on_every_store(async |store| {
        let register = register(store);
        assert_eq!(register.read().await.expect("read"), None);
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        let first = written(register.replace(None, &a).await.expect("create"));
        let second = written(register.replace(Some(&first), &b).await.expect("replace"));
        let current = register.read().await.expect("read").expect("it exists");
        assert_eq!((current.bytes, &current.version), (b.clone(), &second));

        for old in [None, Some(&first)] {
            let lost = register.replace(old, &c).await.expect("a clear answer");
            let Replaced::Lost(Some(current)) = lost else { panic!("{lost:?}") };
            assert_eq!(current.bytes, b);
        }
    });
}

#[test]
fn racing_writers_replace_each_version_once() {
    on_every_store(async |store| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let register = register(store.clone());
                tokio::spawn(async move {
                    for round in 0..5 {
                        loop {
                            let current = register.read().await.expect("read");
                            let mut bytes = current
                                .as_ref()
                                .map_or(Vec::new(), |current| current.bytes.to_vec());
                            bytes.extend([writer, round]);
                            let version = current.as_ref().map(|current| &current.version);
                            let done = register.replace(version, &bytes.into()).await;
                            if let Replaced::Written(_) = done.expect("a clear answer") {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("no panic");
        }
        let current = register(store).read().await.expect("read").expect("it exists");
        let mut writes: Vec<_> = current.bytes.chunks(2).map(<[u8]>::to_vec).collect();
        writes.sort();
        let expected: Vec<_> = (0..4).flat_map(|w| (0..5).map(move |r| vec![w, r])).collect();
        assert_eq!(writes, expected, "each write is there once");
    });
}

/// Replaces the bytes while the store fails, and returns how it ended.
fn replace_with(fault: Fault, times: usize) -> (S3, Replaced) {
    let s3 = S3::start();
    let register = register(s3.store());
    let replaced = run(async {
        let first = written(register.replace(None, &Bytes::from("first")).await.expect("create"));
        s3.order(Method::PUT, "manifest", times, fault);
        register.replace(Some(&first), &Bytes::from("second")).await.expect("a clear answer")
    });
    (s3, replaced)
}

/// The client of `object_store` reports a failed condition here: its second attempt meets the
/// result of its first. So its retries are off, and the object is read back.
#[test]
fn write_whose_answer_was_lost_is_found_by_reading_back() {
    for fault in [Fault::LieAfter(503), Fault::CutAfter, Fault::LieAfter(500)] {
        let (s3, replaced) = replace_with(fault, 1);
        let version = written(replaced);
        assert_eq!(s3.object("logs/x/manifest").expect("it exists").bytes, "second");
        // The version is the real one: the next write needs it.
        let next = run(register(s3.store()).replace(Some(&version), &Bytes::from("third")));
        written(next.expect("a clear answer"));
    }
}

#[test]
fn failed_condition_after_our_own_write_is_success() {
    for code in [412, 409] {
        let (s3, replaced) = replace_with(Fault::LieAfter(code), 1);
        written(replaced);
        assert_eq!(s3.requests(Method::PUT, "manifest"), 2, "nothing was sent again");
    }
}

#[test]
fn write_that_did_not_happen_is_sent_again() {
    for fault in [Fault::Refuse(503), Fault::CutBefore, Fault::Refuse(412), Fault::Refuse(409)] {
        let (s3, replaced) = replace_with(fault, 2);
        written(replaced);
        assert_eq!(s3.requests(Method::PUT, "manifest"), 4, "{fault:?}");
        assert_eq!(s3.object("logs/x/manifest").expect("it exists").bytes, "second");
    }
}

#[test]
fn write_is_lost_if_another_one_came_first_although_the_store_lied() {
    let s3 = S3::start();
    let register = register(s3.store());
    run(async {
        let first = written(register.replace(None, &Bytes::from("first")).await.expect("create"));
        written(register.replace(Some(&first), &Bytes::from("other")).await.expect("replace"));
        s3.order(Method::PUT, "manifest", 1, Fault::Refuse(503));
        let lost = register.replace(Some(&first), &Bytes::from("second")).await;
        let Replaced::Lost(Some(current)) = lost.expect("a clear answer") else { panic!("lost") };
        assert_eq!(current.bytes, "other");
    });
}

#[test]
fn refused_credentials_are_reported_at_once() {
    let s3 = S3::start();
    s3.order(Method::PUT, "manifest", 1, Fault::Refuse(403));
    let refused = run(register(s3.store()).replace(None, &Bytes::from("x")));
    let error = refused.expect_err("access denied");
    assert_eq!(error.kind, Kind::Denied);
    assert!(error.to_string().contains("check the credentials"), "{error}");
}

#[test]
fn outcome_is_unknown_if_the_store_stays_away() {
    let s3 = S3::start();
    let register =
        Register::new(s3.store(), "logs/x/manifest".to_owned(), 100, Duration::from_millis(10));
    s3.set_away(true);
    let error = run(register.replace(None, &Bytes::from("x"))).expect_err("away");
    assert_eq!(error.kind, Kind::Unavailable);
}

#[test]
fn probe_accepts_every_store_of_the_tests_and_leaves_nothing() {
    on_every_store(async |store| {
        probe(&store).await.expect("accepted");
        assert_eq!(store.list("probe", 100).await.expect("list"), []);
    });
}

/// s3s-fs and older releases of SeaweedFS do this: every sequential check passes.
#[test]
fn store_that_checks_before_it_writes_is_refused() {
    let s3 = S3::start();
    s3.be_racy();
    let error = run(probe(&s3.store())).expect_err("refused");
    assert_eq!(error.kind, Kind::Invalid);
    let message = error.to_string();
    assert!(
        message.starts_with("s3://bucket/prefix: this store cannot hold an archive"),
        "{message}"
    );
    assert!(message.contains("simultaneous creations"), "{message}");
    assert!(message.contains("use a service that docs/archive.md lists"), "{message}");
}

#[test]
fn store_that_loses_writes_is_refused() {
    let s3 = S3::start();
    s3.order(Method::PUT, "probe", 1, Fault::Lose);
    let error = run(probe(&s3.store())).expect_err("refused");
    assert_eq!(error.kind, Kind::Invalid, "{error}");
}

#[test]
fn probe_of_an_absent_store_does_not_blame_it() {
    let s3 = S3::start();
    s3.set_away(true);
    let error = run(probe(&s3.store())).expect_err("away");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
}
