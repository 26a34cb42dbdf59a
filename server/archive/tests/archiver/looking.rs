//! `styx archive verify` and the scrub of the store: they find missing and changed objects.

use styx_archive::Settings;
use styx_archive::verify::{Depth, verify};
use styx_engine::archive::LocalLimits;

use crate::archiving::{Server, append, wait_for_archived};
use crate::s3::S3;

#[test]
fn missing_and_changed_objects_are_reported_by_verify() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 45);
    wait_for_archived(&log, 40);
    drop(log);
    server.stop();
    let segments: Vec<String> = s3.keys().into_iter().filter(|key| key.ends_with(".seg")).collect();
    s3.remove(&segments[0]);
    s3.change(&segments[1], |object| object.bytes = object.bytes.slice(1..));
    s3.change(&segments[2], |object| {
        let mut bytes = object.bytes.to_vec();
        bytes[100] ^= 1;
        object.bytes = bytes.into();
    });
    let quick = verify(&s3.store(), Depth::Descriptions, &mut |_| {}).expect("verified");
    assert_eq!(quick.problems.len(), 2, "{:?}", quick.problems);
    let full = verify(&s3.store(), Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(full.problems.len(), 3, "{:?}", full.problems);
    for (problem, (key, what)) in full.problems.iter().zip([
        (&segments[0], "missing"),
        (&segments[1], "instead of"),
        (&segments[2], "damaged"),
    ]) {
        assert!(problem.contains(key) && problem.contains(what), "{problem}");
    }
}

#[test]
fn scrub_uploads_missing_and_changed_objects_again_and_reports_lost_ones() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let keep = |settings: &mut Settings| settings.local_bytes_max = None;
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), keep);
    let log = server.create("log");
    append(&log, 45);
    wait_for_archived(&log, 40);
    let intact = server.archiver.scrub().expect("scrubbed");
    assert_eq!((intact.segments, intact.healed, intact.problems), (4, 0, vec![]));
    drop(log);
    server.stop();

    // A later process has another epoch, and still writes the objects that the manifest names.
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), keep);
    let log = server.log("log");
    let segments: Vec<String> = s3.keys().into_iter().filter(|key| key.ends_with(".seg")).collect();
    s3.remove(&segments[0]);
    s3.change(&segments[1], |object| object.bytes = object.bytes.slice(1..));
    let healed = server.archiver.scrub().expect("scrubbed");
    assert_eq!((healed.segments, healed.healed, healed.problems), (4, 2, vec![]));
    assert_eq!(server.archiver.stats().healed, 2);
    let verified = verify(&s3.store(), Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());

    let everything = LocalLimits { bytes_max: Some(0), age_max: None };
    assert!(log.evict(&everything).expect("evicted").segments >= 1);
    s3.remove(&segments[0]);
    let lost = server.archiver.scrub().expect("scrubbed");
    assert_eq!((lost.healed, lost.problems.len()), (0, 1));
    assert!(lost.problems[0].contains(&segments[0]), "{:?}", lost.problems);
    assert_eq!(server.archiver.stats().lost, 1);
    drop(log);
    server.stop();
}

#[test]
fn missing_and_damaged_objects_beside_a_segment_are_reported_and_uploaded_again() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    // All segments but the newest are evicted. Their indexes stay.
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 45);
    wait_for_archived(&log, 40);
    let ending = |suffix: &str| -> Vec<String> {
        s3.keys().into_iter().filter(|key| key.ends_with(suffix)).collect()
    };
    let (indexes, producers) = (ending(".idx"), ending(".producers"));
    let newest_producers = producers.last().expect("the newest segment has them");
    assert_eq!(indexes.len(), 4);
    let verified =
        |depth: Depth| verify(&s3.store(), depth, &mut |_| {}).expect("verified").problems;
    assert_eq!(verified(Depth::Bodies), Vec::<String>::new());

    s3.remove(&indexes[0]);
    s3.remove(newest_producers);
    // Nobody needs the producers of older segments, and not every one of these has them.
    for older in &producers[..producers.len() - 1] {
        s3.remove(older);
    }
    s3.change(&indexes[1], |object| {
        let mut bytes = object.bytes.to_vec();
        *bytes.last_mut().expect("a byte") ^= 1;
        (object.bytes, object.crc) = (bytes.into(), None);
    });
    let quick = verified(Depth::Descriptions);
    assert_eq!(quick.len(), 2, "{quick:?}");
    assert!(quick[0].contains(&indexes[0]) && quick[1].contains(newest_producers), "{quick:?}");
    let full = verified(Depth::Bodies);
    assert!(full.len() == 3 && full[1].contains(&indexes[1]), "{full:?}");

    let scrubbed = server.archiver.scrub().expect("scrubbed");
    assert_eq!((scrubbed.segments, scrubbed.healed, scrubbed.problems), (4, 2, vec![]));
    assert_eq!(verified(Depth::Descriptions), Vec::<String>::new());
    let full = verified(Depth::Bodies);
    assert!(full.len() == 1 && full[0].contains(&indexes[1]), "{full:?}");
    drop(log);
    server.stop();
}
