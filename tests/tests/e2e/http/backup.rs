//! Backup and restore over HTTP: round trips, consistency, and malicious archives.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use styx_tests::api::written_json;
use styx_tests::checker::Payload;
use styx_tests::{Request, Table, TestServer, error, gives, wait};

fn payload(sequence: u64) -> Vec<u8> {
    Payload { producer: 1, sequence, length: (sequence % 300) as u32 }.encode()
}

/// A server whose log `a` has 250 records in segments of 20, and is trimmed up to 40.
fn server() -> TestServer {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=20&max_record_size=4096");
    let records: Vec<_> = (0..250).map(payload).collect();
    for few in records.chunks(7) {
        server.append_all("a", few);
    }
    let _ = server.ask(&Request::post("/logs/a/trim?position=40")).expect(200);
    server
}

fn unpack(archive: &[u8]) -> Vec<(tar::Header, Vec<u8>)> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entries = tar.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("its bytes");
            (entry.header().clone(), bytes)
        })
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn pack(entries: &[(tar::Header, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (header, bytes) in entries {
        let mut header = header.clone();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).expect("memory can be written");
    }
    gzip(&tar.into_inner().expect("memory can be written"))
}

#[test]
fn a_backup_names_itself_and_restores_to_the_same_log() {
    let mut server = server();
    let answer = server.ask(&Request::get("/logs/a/backup")).expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/gzip"));
    let name = answer.header("Content-Disposition").expect("a name");
    let time = name.strip_prefix("attachment; filename=a-").expect(name);
    let time = time.strip_suffix(".tar.gz").expect(name);
    assert!(time.parse::<u64>().is_ok_and(|time| time > 1_700_000_000), "{name}");

    let restored = server.restore("b", answer.body).expect(200);
    assert!(restored.header("X-Styx-Log-Id").is_some(), "{}", restored.shown());
    let check = |server: &TestServer| {
        assert_eq!(server.read_all("b"), server.read_all("a"));
        let (mut a, b) = (server.info("a"), server.info("b"));
        a["name"] = "b".into();
        assert_eq!(a, b);
        let details = |log: &str| {
            let request = Request::get(&format!("/logs/{log}?details=true"));
            server.ask(&request).expect(200).json()["config"].clone()
        };
        assert_eq!(details("a"), details("b"));
        assert_ne!(server.log_id("a"), server.log_id("b"));
    };
    check(&server);
    server.kill();
    server.restart();
    check(&server);
    assert_eq!(server.append("b", "next"), 251, "appends continue at the same position");
}

#[test]
fn empty_and_trimmed_logs_can_be_restored() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=5");
    let _ = server.restore("empty", server.backup("a")).expect(200);
    assert_eq!(server.info("empty")["end_position"], 0);
    server.append_all("a", &vec!["x"; 23]);
    let _ = server.ask(&Request::post("/logs/a/trim?position=23")).expect(200);
    let _ = server.restore("trimmed", server.backup("a")).expect(200);
    assert_eq!(server.info("trimmed")["start_position"], server.info("a")["start_position"]);
    assert_eq!(server.append("trimmed", "y"), 24);
}

#[test]
fn producers_are_restored_with_their_log() {
    let server = TestServer::start();
    server.create("a");
    let produce = |log: &str, sequence: u64| {
        let request = styx_tests::api::write_lines(log, "x\ny\n");
        let request = request.header("X-Styx-Producer", 5).header("X-Styx-Epoch", 0);
        server.ask(&request.header("X-Styx-Sequence", sequence)).expect(200).text().to_owned()
    };
    assert_eq!(produce("a", 0), written_json(2, 2));
    let _ = server.restore("b", server.backup("a")).expect(200);
    assert_eq!(produce("b", 0), written_json(2, 0), "the restored log knows the producer");
    assert_eq!(produce("b", 2), written_json(4, 2));
}

#[test]
fn a_backup_is_a_prefix_of_the_log_while_appends_go_on() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=200");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = wait::SetOnDrop(&done);
        let appender = scope.spawn(|| {
            let mut connection = server.connect();
            let mut next = 0;
            while !done.load(Ordering::Relaxed) {
                let records: Vec<_> = (next..next + 17).map(payload).collect();
                let request = styx_tests::api::write_binary("a", &records);
                let _ = connection.exchange(&request).expect("an answer").expect(200);
                next += 17;
            }
            next
        });
        let end = || server.info("a")["end_position"].as_u64().expect("a position");
        for round in 0..5 {
            let before = end();
            let archive = server.backup("a");
            let after = end();
            let name = format!("copy{round}");
            let _ = server.restore(&name, archive).expect(200);
            let copy = server.read_all(&name);
            let length = copy.len() as u64;
            assert!((before..=after).contains(&length), "{before} {length} {after}");
            let expected: Vec<_> = (0..length).map(payload).collect();
            assert!(copy == expected, "the copy equals the beginning of the log");
        }
        drop(over);
        let appended = appender.join().expect("every append is acked");
        assert_eq!(end(), appended);
    });
}

/// What a script writes to its standard output. It runs in the server's scratch directory.
pub(super) fn packed(server: &TestServer, script: &str) -> Vec<u8> {
    let mut bash = std::process::Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(server.scratch().path());
    let output = bash.output().expect("bash is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    output.stdout
}

#[test]
fn backups_packed_again_with_tar_and_gzip_are_restored() {
    let server = server();
    server.scratch().write("a.tar.gz", server.backup("a"));
    let unpack = "mkdir -p orders && tar -xzf a.tar.gz -C orders && \
                  touch orders/._log.toml && echo AppleDouble > orders/0/._watermark";
    let long = "long=$(printf 'x%.0s' {1..150}) && cp -r orders $long && tar -czf - $long";
    let (long_gnu, long_pax) = (format!("{long} --format=gnu"), format!("{long} --format=pax"));
    let members = "tar -cf all.tar orders && head -c 3000 all.tar | gzip && \
                   tail -c +3001 all.tar | gzip && head -c 20000 /dev/zero";
    let ways = [
        "cd orders && tar -czf - *",
        "cd orders && tar -czf - .",
        "cd orders && tar -czf - 0/* log.toml",
        "cd orders && tar -czf - log.toml $(ls -r 0/*)",
        "tar -czf - orders",
        "tar -czf - ./orders",
        "tar --format=pax -czf - orders",
        "tar --format=ustar -czf - orders",
        "tar --format=v7 -czf - orders",
        long_gnu.as_str(),
        long_pax.as_str(),
        members,
    ];
    for (number, pack) in ways.into_iter().enumerate() {
        // Each one begins with a new directory.
        let script = format!("mkdir {number} && cp a.tar.gz {number} && cd {number} && {unpack}");
        let archive = packed(&server, &format!("{script} && {pack}"));
        let answer = server.restore("b", archive);
        assert_eq!(answer.status(), 200, "{pack}: {}", answer.shown());
        assert_eq!(server.read_all("b"), server.read_all("a"), "{pack}");
        let mut info = server.info("b");
        info["name"] = "a".into();
        assert_eq!(info, server.info("a"), "{pack}");
        let _ = server.ask(&Request::delete("/logs/b")).expect(200);
    }
    for (number, pack) in [
        "touch orders/README && tar -czf - orders",
        "cp -r orders other && tar -czf - orders other",
        "cd orders && tar -czf - log.toml 0 --transform s,0/,1/,",
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("mkdir bad{number} && cp a.tar.gz bad{number} && cd bad{number}");
        let archive = packed(&server, &format!("{script} && {unpack} && {pack}"));
        let answer = server.restore("b", archive).expect_error(400, "invalid_params");
        let how = "`tar -czf ARCHIVE log.toml 0`";
        assert!(answer.text().contains(how), "{pack}: {}", answer.shown());
    }
}

#[test]
fn restore_rejects_invalid_archives_and_leaves_nothing() {
    let server = server();
    let archive = server.backup("a");
    let mut table = Table::of(&server);
    let restore = |name: &str, body: Vec<u8>| {
        Request::post(&format!("/logs/restore?name={name}")).typed("application/gzip", body)
    };
    let bad = error(400, "invalid_params");
    table.row("no name", &Request::post("/logs/restore").body("x"), &bad.clone().says("name"));
    table.row("a bad name", &restore("b.c", archive.clone()), &error(400, "log_invalid_name"));
    table.row("an existing name", &restore("a", archive.clone()), &error(409, "log_exist"));
    table.row("nothing", &restore("b", Vec::new()), &bad);
    table.row("garbage", &restore("b", b"garbage".to_vec()), &bad);
    table.row("gzip of nothing", &restore("b", gzip(b"")), &bad);
    table.row("gzip of garbage", &restore("b", gzip(&[7; 5000])), &bad);
    table.row("an empty tar", &restore("b", gzip(&[0; 1024])), &bad);
    for cut in [20, archive.len() / 4, archive.len() / 2, archive.len() - 1] {
        table.row(&format!("cut at {cut}"), &restore("b", archive[..cut].to_vec()), &bad);
    }
    table.row("no log was created", &Request::get("/logs/b"), &error(404, "log_not_found"));
    table.row("the archive itself", &restore("b", archive), &gives(200));
    table.check();
    let names = std::fs::read_dir(server.data()).expect("the data directory");
    let names: Vec<_> = names.map(|e| e.expect("an entry").file_name()).collect();
    let odd = |name: &&std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.contains("restore") || name.contains("tmp")
    };
    assert_eq!(names.iter().find(odd), None, "{names:?}");
}

#[test]
fn an_archive_with_a_flipped_bit_is_rejected_or_restored_unchanged() {
    let server = server();
    let entries = unpack(&server.backup("a"));
    let mut failures = Vec::new();
    for (index, (_, bytes)) in entries.iter().enumerate() {
        for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            failures.extend(restored_with_a_flip(&server, "a", &entries, index, at));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let _ = server.ask(&Request::get("/logs/b")).expect_error(404, "log_not_found");
}

#[test]
fn every_flipped_byte_of_a_small_archive_is_rejected_or_harmless() {
    let server = TestServer::start();
    server.create_with("small", "segment_max_count=2");
    for payload in ["one", "two", "three"] {
        server.append("small", payload);
    }
    let entries = unpack(&server.backup("small"));
    let (mut failures, mut flips) = (Vec::new(), 0);
    for (index, (_, bytes)) in entries.iter().enumerate() {
        // The rest of the watermark's two pages is zeros that the server never reads.
        let is_used = |at: &usize| bytes.len() < 8192 || at % 4096 < 64;
        for at in (0..bytes.len()).filter(is_used) {
            failures.extend(restored_with_a_flip(&server, "small", &entries, index, at));
            flips += 1;
        }
    }
    println!("{flips} bytes were flipped, one at a time");
    assert!(flips > 500, "{flips}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let _ = server.ask(&Request::get("/logs/b")).expect_error(404, "log_not_found");
}

/// Restores the backup of a log with one byte changed. Returns what is wrong with the
/// result, if anything is.
fn restored_with_a_flip(
    server: &TestServer,
    log: &str,
    entries: &[(tar::Header, Vec<u8>)],
    index: usize,
    at: usize,
) -> Option<String> {
    let mut entries = entries.to_vec();
    let (header, bytes) = &mut entries[index];
    let path = header.path().expect("a path").display().to_string();
    *bytes.get_mut(at)? ^= 0x10;
    let answer = server.ask(&Request::post("/logs/restore?name=b").body(pack(&entries)));
    if answer.status() == 400 {
        return None;
    }
    if answer.status() != 200 {
        return Some(format!("byte {at} of {path}: {}", answer.shown()));
    }
    // A change outside the data (a cache, one of two slots) may be repaired.
    let mut info = server.info("b");
    info["name"] = log.into();
    let same = server.read_all("b") == server.read_all(log) && info == server.info(log);
    let _ = server.ask(&Request::delete("/logs/b")).expect(200);
    let is_wrong = path.ends_with(".seg") || !same;
    is_wrong.then(|| format!("byte {at} of {path} was accepted; same: {same}"))
}

#[test]
fn restore_rejects_malicious_entries() {
    let server = server();
    let good = unpack(&server.backup("a"));
    let outside = server.scratch().join("outside");
    let mut table = Table::of(&server);
    let bad = gives(400);
    let entry = |path: &str, kind: tar::EntryType, link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        // Written by hand, because the tar library rejects such paths.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        if let Some(link) = link {
            header.set_link_name_literal(link).expect("a short link");
        }
        (header, Vec::new())
    };
    let regular = tar::EntryType::Regular;
    let absolute = outside.display().to_string();
    let harm = [
        ("a path upwards", entry("../outside", regular, None)),
        ("a path upwards within", entry("x/../../../outside", regular, None)),
        ("an absolute path", entry(&absolute, regular, None)),
        ("a link", entry("link", tar::EntryType::Symlink, Some("/etc/passwd"))),
        ("a hard link", entry("hard", tar::EntryType::Link, Some("../config.toml"))),
        ("a device", entry("device", tar::EntryType::Char, None)),
        ("a pipe", entry("pipe", tar::EntryType::Fifo, None)),
        ("an unknown file", entry("evil.sh", regular, None)),
    ];
    for (name, harm) in harm {
        for first in [true, false] {
            let mut entries = good.clone();
            entries.insert(if first { 0 } else { entries.len() }, harm.clone());
            let request = Request::post("/logs/restore?name=b").body(pack(&entries));
            table.row(&format!("{name}, first: {first}"), &request, &bad);
        }
    }
    let mut twice = good.clone();
    twice.push(good[good.len() - 1].clone());
    table.row("a file twice", &Request::post("/logs/restore?name=b").body(pack(&twice)), &bad);
    for gone in 0..good.len() {
        let mut entries = good.clone();
        let (header, _) = entries.remove(gone);
        let path = header.path().expect("a path").display().to_string();
        if path.ends_with(".seg") && gone + 1 < good.len() {
            let request = Request::post("/logs/restore?name=b").body(pack(&entries));
            let answer = server.ask(&request);
            if answer.status() == 200 {
                // The oldest segment may be missing, as after retention.
                let info = server.info("b");
                assert!(info["start_position"].as_u64() > Some(40), "{path}: {info}");
                let _ = server.ask(&Request::delete("/logs/b")).expect(200);
            }
        }
    }
    table.row("no log was created", &Request::get("/logs/b"), &error(404, "log_not_found"));
    table.check();
    assert!(!outside.exists(), "a file was written outside the data directory");
    let config = std::fs::read_to_string(server.scratch().join("config.toml"));
    assert!(config.expect("the file still exists").contains("bind_address"));
}

#[test]
fn a_decompression_bomb_is_rejected_in_bounded_memory() {
    let server = TestServer::start();
    let zeros = tar_of_zeros(2 << 30);
    assert!(zeros.len() < 16 << 20, "{}", zeros.len());
    let answer = server.restore("b", zeros);
    assert_eq!(answer.status(), 400, "{}", answer.shown());
    let peak = server.memory_bytes_most();
    assert!(peak < 300 << 20, "{peak} bytes of memory for a bomb");
    let _ = server.ask(&Request::get("/logs/b")).expect(404);
}

/// A `tar.gz` of one file of zeros.
fn tar_of_zeros(size: u64) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(encoder);
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    let name = "1/00000000000000000000.seg";
    tar.append_data(&mut header, name, std::io::repeat(0).take(size)).expect("memory");
    tar.into_inner().expect("memory").finish().expect("memory")
}
