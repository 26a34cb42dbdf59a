//! Archives of 0.x over HTTP: the recorded one is restored, and a rejected one leaves
//! nothing behind.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use styx_tests::api::{now_us, unbinary};
use styx_tests::legacy::{config, golden, golden_files, pack, records, segment, small};
use styx_tests::{Request, Table, TestServer, error, wait};

use super::backup::packed;

fn restore(archive: Vec<u8>) -> Request {
    Request::post("/logs/restore?name=b").typed("application/gzip", archive)
}

/// Whether nothing but the lock is in the data directory.
fn is_empty(server: &TestServer) -> bool {
    let names = std::fs::read_dir(server.data()).expect("the data directory");
    names.map(|entry| entry.expect("an entry").file_name()).all(|name| name == ".lock")
}

#[test]
fn the_recorded_archive_restores_its_records() {
    let mut server = TestServer::start();
    let answer = server.restore("v0", golden("archive-v0.tar.gz")).expect(200);
    assert!(answer.body.is_empty() && answer.header("X-Styx-Log-Id").is_some());
    let recorded_details: serde_json::Value =
        serde_json::from_slice(&golden("v0.json")).expect("JSON");
    let recorded = golden("records-v0.bin");
    let check = |server: &TestServer| {
        let read = styx_tests::api::read_binary("v0", "whence=start");
        assert!(server.ask(&read).expect(200).body == recorded, "byte for byte");
        let details = Request::get("/logs/v0?details=true");
        let details = server.ask(&details).expect(200).json();
        for field in ["start_position", "end_position"] {
            assert_eq!(details[field], recorded_details[field], "{field}");
        }
        assert_eq!(details["record_count"], 934);
        assert_eq!(details["file_size"], recorded.len() + 4 * 934);
        let mut config = serde_json::json!({
            "max_record_size": 1 << 20, "index_after_size": 1 << 20, "segment_max_count": -1,
            "segment_max_size": 1 << 30, "segment_max_age": -1, "log_max_count": -1,
            "log_max_size": -1, "log_max_age": -1,
        });
        for (field, value) in recorded_details["config"].as_object().expect("fields") {
            config[field] = value.clone();
        }
        assert_eq!(details["config"], config);
        for (field, segment_s) in [("first", 1_795_399_531_u64), ("last", 1_795_399_533)] {
            let time_us = details[format!("timestamp_{field}")].as_u64().expect("a time");
            // If this machine's clock is behind, the recorded times count as now.
            let clock_is_behind = now_us() < segment_s * 1_000_000 && time_us <= now_us();
            assert!(time_us == segment_s * 1_000_000 || clock_is_behind, "{field}: {time_us}");
        }
    };
    check(&server);
    let before = server.ask(&styx_tests::api::read_binary("v0", "position=299"));
    let _ = before.expect_error(416, "out_of_range");
    server.kill();
    server.restart();
    check(&server);
    let records = unbinary(&recorded);
    let one = server.ask(&Request::get("/logs/v0/records?position=1000")).expect(200).body;
    assert_eq!(one, records[700]);
    assert_eq!(server.append("v0", "goes on"), 1235);
    let _ = server.restore("again", server.backup("v0")).expect(200);
    assert_eq!(server.read_all("again"), server.read_all("v0"));
}

#[test]
fn archives_packed_again_with_tar_are_restored_or_say_how_to_pack_them() {
    let server = TestServer::start();
    server.scratch().write("v0.tar.gz", golden("archive-v0.tar.gz"));
    let unpack = "mkdir -p v0 && tar -xzf v0.tar.gz -C v0 && cd v0";
    let recorded = golden("records-v0.bin");
    for (name, pack) in [
        ("files", "tar -czf - config segment-*"),
        ("indexes", "tar -czf - config $(ls -r *-index) *-records"),
        ("directory", "cd .. && tar --sort=name -czf - v0"),
    ] {
        let archive = packed(&server, &format!("{unpack} && {pack}"));
        let _ = server.restore(name, archive).expect(200);
        let read = styx_tests::api::read_binary(name, "whence=start");
        assert!(server.ask(&read).expect(200).body == recorded, "{name}");
    }
    for pack in ["tar -czf - segment-* config", "tar -czf - config $(ls -r segment-*)"] {
        let archive = packed(&server, &format!("{unpack} && {pack}"));
        let answer = server.restore("b", archive).expect_error(400, "invalid_params");
        let how = "`tar -czf ARCHIVE config segment-*`";
        assert!(answer.text().contains(how), "{pack}: {}", answer.shown());
    }
}

/// Retention removes exactly what 0.x would have removed by age.
#[test]
fn retention_by_age_uses_the_segments_times() {
    let server = TestServer::start();
    let now_s = now_us() / 1_000_000;
    let _ = server.restore("fresh", pack(&small(now_s - 60, 3600))).expect(200);
    let _ = server.restore("stale", pack(&small(now_s - 7200, 3600))).expect(200);
    wait::until_true("the old segments' end", Duration::from_secs(30), || {
        server.info("stale")["start_position"] == 8
    });
    assert_eq!(server.info("fresh")["start_position"], 4);
    assert_eq!(server.read_all("stale"), [b"first2", b"other2"], "the newest segment stays");
}

#[test]
fn corrupt_and_truncated_archives_are_rejected_and_leave_nothing() {
    let server = TestServer::start();
    let files = small(1_700_000_000, -1);
    let mut failures = Vec::new();
    let mut refused = |what: String, archive: Vec<u8>| {
        let answer = server.ask(&restore(archive));
        if answer.status() != 400 || !is_empty(&server) {
            failures.push(format!("{what}: {}", answer.shown()));
        }
    };
    for (index, (name, bytes)) in files.iter().enumerate() {
        for at in (0..bytes.len()).step_by(3) {
            let mut flipped = files.clone();
            flipped[index].1[at] ^= 1 << (at % 8);
            refused(format!("byte {at} of {name}"), pack(&flipped));
        }
        let mut cut = files.clone();
        if cut[index].1.pop().is_some() {
            refused(format!("{name} one byte short"), pack(&cut));
        }
        let mut without = files.clone();
        without.remove(index);
        refused(format!("without {name}"), pack(&without));
    }
    let archive = golden("archive-v0.tar.gz");
    for at in (0..archive.len()).step_by(archive.len() / 20) {
        refused(format!("cut at {at}"), archive[..at].to_vec());
        let mut flipped = archive.clone();
        // Only the magic bytes of gzip's own header matter.
        flipped[at] ^= 0x10;
        refused(format!("the gzip's byte {at}"), flipped);
    }
    refused("one byte short".into(), archive[..archive.len() - 1].to_vec());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let _ = server.ask(&restore(pack(&files))).expect(200);
}

#[test]
fn malicious_entries_are_rejected() {
    let server = TestServer::start();
    let good = golden_files();
    let outside = server.scratch().join("outside");
    let absolute = outside.display().to_string();
    let harm = [
        ("a path upwards", "../outside", tar::EntryType::Regular),
        ("a segment upwards", &format!("../{}", good[1].0), tar::EntryType::Regular),
        ("an absolute path", &absolute, tar::EntryType::Regular),
        ("a link", &good[1].0, tar::EntryType::Symlink),
        ("a hard link", &good[1].0, tar::EntryType::Link),
        ("a device", "lock", tar::EntryType::Char),
        ("a pipe", &good[1].0, tar::EntryType::Fifo),
        ("a long name's entry", "config", tar::EntryType::GNULongName),
        ("the lock", "lock", tar::EntryType::Regular),
        ("an unknown file", "evil.sh", tar::EntryType::Regular),
        ("a manifest of ours", "log.toml", tar::EntryType::Regular),
        ("a segment of ours", "0/00000000000000001234.seg", tar::EntryType::Regular),
        ("the configuration again", "config", tar::EntryType::Regular),
        ("a segment again", &good[1].0, tar::EntryType::Regular),
        ("an index again", &good[11].0, tar::EntryType::Regular),
    ];
    let mut table = Table::of(&server);
    for (name, path, kind) in &harm {
        for at in [0, 1, 5, good.len()] {
            if at == 0 && *path == "config" && *kind == tar::EntryType::Regular {
                continue;
            }
            let archive = with_entry(&good, at, path, *kind);
            table.row(&format!("{name} at {at}"), &restore(archive), &error(400, "invalid_params"));
        }
    }
    table.check();
    assert!(!outside.exists() && is_empty(&server));
}

/// The files, and among them an entry that the tar library would reject.
fn with_entry(
    files: &[styx_tests::legacy::File],
    at: usize,
    path: &str,
    kind: tar::EntryType,
) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8], kind: tar::EntryType| {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).expect("memory can be written");
    };
    for (index, (name, bytes)) in files.iter().enumerate() {
        if index == at {
            add(path, b"", kind);
        }
        add(name, bytes, tar::EntryType::Regular);
    }
    if at == files.len() {
        add(path, b"", kind);
    }
    styx_tests::legacy::gzip(&tar.into_inner().expect("memory can be written"))
}

#[test]
fn bombs_and_false_sizes_are_rejected_in_bounded_memory() {
    let server = TestServer::start();
    let unlimited = config([-1, -1, -1, -1, -1, -1, -1, -1]);
    let (log, index) = (segment(0, 0, 0, "records"), segment(0, 0, 0, "index"));
    let huge = [&0x3fff_fff0_u32.to_be_bytes(), [7; 5000].as_slice()].concat();
    let mut bombs = vec![
        ("zeros for records", bomb(&unlimited, &[], &log, ZEROS, ZEROS)),
        ("zeros for an index", bomb(&unlimited, &records(&["x"]), &index, ZEROS, ZEROS)),
        ("zeros for a configuration", bomb(&unlimited, &[], "config", ZEROS, ZEROS)),
        ("a size beyond the archive", bomb(&unlimited, &[], &log, u64::MAX >> 1, 1000)),
    ];
    let files = [("config".to_owned(), unlimited), (log, huge), (index, Vec::new())];
    bombs.push(("a record that says 1 GiB", pack(&files)));
    for (what, bomb) in bombs {
        let answer = server.ask(&restore(bomb));
        assert_eq!(answer.status(), 400, "{what}: {}", answer.shown());
        assert!(is_empty(&server), "{what}");
    }
    let peak = server.memory_bytes_most();
    assert!(peak < 200 << 20, "{peak} bytes of memory");
}

/// More bytes than the memory limit of the test.
const ZEROS: u64 = 600 << 20;

/// The configuration, one segment's records, and an entry that claims `says` bytes and
/// has `zeros` bytes.
fn bomb(config: &[u8], records: &[u8], name: &str, says: u64, zeros: u64) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut entry = |name: &str, size: u64, bytes: &mut dyn std::io::Read| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("a short name");
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        out.write_all(header.as_bytes()).expect("memory can be written");
        let written = std::io::copy(bytes, &mut out).expect("memory can be written");
        let padding = vec![0; (512 - written as usize % 512) % 512];
        out.write_all(&padding).expect("memory can be written");
    };
    entry("config", config.len() as u64, &mut &*config);
    if !records.is_empty() {
        entry(&segment(0, 0, 0, "records"), records.len() as u64, &mut &*records);
    }
    entry(name, says, &mut std::io::repeat(0).take(zeros));
    out.finish().expect("memory can be written")
}
