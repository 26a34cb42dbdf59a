//! The stores of the tests, and requests to each of them.

use bytes::Bytes;
use http::Method;
use styx_archive::store::{Kind, Options, SINGLE_BYTES_MAX, Store};

use crate::s3::{Fault, S3};
use crate::versitygw::Versitygw;

/// Runs a future on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Runs a test with a directory, with the server in memory, and with `versitygw` if it is there.
pub(crate) fn on_every_store(test: impl AsyncFn(Store)) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let url = format!("file://{}", directory.path().display());
    run(test(Store::open(&url, &Options::default()).expect("open")));
    run(test(S3::start().store()));
    if let Some(server) = Versitygw::start() {
        run(test(server.store()));
    }
}

#[test]
fn objects_are_written_read_described_listed_and_deleted() {
    on_every_store(async |store| {
        let bytes = Bytes::from_static(b"0123456789");
        store.put("logs/a/x.seg", bytes.clone()).await.expect("put");
        store.put("logs/b/y.seg", Bytes::from_static(b"y")).await.expect("put");
        store.put("logs/a/x.seg", bytes.clone()).await.expect("put again");

        let description = store.head("logs/a/x.seg").await.expect("head");
        assert_eq!(description.bytes, 10);
        if store.location().to_string().starts_with("s3:") {
            assert_eq!(description.crc, Some(crc32c::crc32c(&bytes)));
        }
        assert!(description.modified_us > 1_700_000_000_000_000);
        assert_eq!(store.get("logs/a/x.seg", 10).await.expect("get").0, bytes);
        assert_eq!(store.get_range("logs/a/x.seg", 2..5).await.expect("get"), "234");
        let error = store.get("logs/a/x.seg", 9).await.expect_err("too large");
        assert_eq!(error.kind, Kind::Damaged);
        let error = store.get_range("logs/a/x.seg", 5..11).await.expect_err("too short");
        assert_eq!(error.kind, Kind::Damaged);

        let mut folders = store.folders("logs").await.expect("folders");
        folders.sort();
        assert_eq!(folders, ["a", "b"]);
        let listed = store.list("logs/a", 10).await.expect("list");
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].key.as_str(), listed[0].bytes), ("logs/a/x.seg", 10));
        assert!(store.list("logs", 1).await.is_err(), "more keys than expected");

        store.delete("logs/a/x.seg").await.expect("delete");
        store.delete("logs/a/x.seg").await.expect("delete again");
        for error in [
            store.head("logs/a/x.seg").await.expect_err("gone"),
            store.get("logs/a/x.seg", 10).await.expect_err("gone"),
            store.get_range("logs/a/x.seg", 0..1).await.expect_err("gone"),
        ] {
            assert_eq!(error.kind, Kind::Missing);
        }
    });
}

#[test]
fn large_objects_are_written_in_parts() {
    on_every_store(async |store| {
        let bytes: Bytes = (0..SINGLE_BYTES_MAX + 1000).map(|i| (i % 251) as u8).collect();
        let crc = crc32c::crc32c(&bytes);
        let whole = bytes.clone();
        let read = move |range: std::ops::Range<u64>| {
            Ok(whole.slice(range.start as usize..range.end as usize))
        };
        let size = bytes.len() as u64;
        store.put_in_parts("logs/a/x.seg", size, crc, read.clone()).await.expect("put");
        assert_eq!(store.get("logs/a/x.seg", size).await.expect("get").0, bytes);
        let description = store.head("logs/a/x.seg").await.expect("head");
        assert_eq!(description.bytes, size);
        if store.location().to_string().starts_with("s3:") {
            assert_eq!(description.crc, Some(crc));
        }
        let error = store.put_in_parts("logs/a/y.seg", size, crc + 1, read).await;
        assert_eq!(error.expect_err("other bytes").kind, Kind::Damaged);
        let error = store.head("logs/a/y.seg").await.expect_err("not written");
        assert_eq!(error.kind, Kind::Missing);
    });
}

#[test]
fn reads_survive_faults_of_the_store() {
    let s3 = S3::start();
    let store = s3.store();
    run(store.put("x", Bytes::from_static(b"0123456789"))).expect("put");
    for fault in [Fault::Refuse(503), Fault::CutBefore, Fault::HalfBody] {
        s3.order(Method::GET, "x", 1, fault);
        match run(store.get("x", 10)) {
            Ok((bytes, _)) => assert_eq!(bytes, "0123456789", "{fault:?}"),
            Err(e) => assert_eq!(e.kind, Kind::Unavailable, "{e}"),
        }
    }
    assert_eq!(run(store.get("x", 10)).expect("get").0, "0123456789");
}

#[test]
fn store_that_does_not_answer_is_left_after_the_deadline() {
    let s3 = S3::start();
    let store = s3.store();
    s3.order(Method::GET, "x", 100, Fault::Delay(60_000));
    let error = run(store.get("x", 10)).expect_err("no answer");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.why.contains("no progress"), "{error}");
}

#[test]
fn absent_directory_is_refused_and_not_made() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("absent");
    let opened = Store::open(&format!("file://{}", path.display()), &Options::default());
    assert!(opened.expect_err("refused").to_string().contains("create it"));
    assert!(!path.exists());
}
