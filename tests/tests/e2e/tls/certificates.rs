//! The server's own certificate: mistakes, and how it is replaced.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use styx_client::LogConfig;
use styx_client::blocking::Client;
use styx_tests::{Authority, Request, Scratch, Settings, TestServer, wait};

/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn client(server: &TestServer, authority: &Authority) -> Result<Client, styx_client::Error> {
    Client::builder(&server.tls_url()).ca_pem(authority.certificate()).connect()
}

/// Replaces a server's certificate and key, as a program that renews them does.
fn replace(server: &TestServer, authority: &Authority) {
    let (certificate, key) = server.certificate_files();
    let signed = authority.server();
    for (path, text) in [(certificate, signed.certificate), (key, signed.key)] {
        let new = path.with_extension("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("replaced");
    }
}

#[test]
fn certificate_is_replaced_on_sighup_and_when_its_files_change() {
    let server = Settings::default().tls().start();
    let (second, third) = (Authority::new("second"), Authority::new("third"));
    let open = client(&server, server.authority()).expect("trusted");
    open.create_log("a", LogConfig::default(), false).expect("created");
    replace(&server, &second);
    server.tell(Signal::HUP);
    wait::until_true("the second certificate is used", PATIENCE, || {
        client(&server, &second).is_ok()
    });
    let error = client(&server, server.authority()).expect_err("the first is not used any more");
    assert_eq!(error.code(), "untrusted_server");
    assert_eq!(open.list_logs().expect("open connections stay").len(), 1);
    // Nobody tells the server.
    replace(&server, &third);
    wait::until_true("the third certificate is used", PATIENCE, || client(&server, &third).is_ok());
    server.expect_log("loaded now");
}

#[test]
fn expiry_of_the_certificate_is_a_metric_and_follows_a_replacement() {
    let server = Settings::default().tls().start();
    // A new connection would be refused by its client once the certificate has expired.
    let mut open = server.connect();
    let mut expiry = || -> f64 {
        let answer = open.exchange(&Request::get("/metrics")).expect("an answer");
        let name = "styx_certificate_expiry_timestamp_seconds ";
        let value = answer.text().lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        value.expect("the metric exists")
    };
    let year_4096 = 67_090_000_000.0;
    assert!(expiry() > year_4096, "{}", expiry());
    let expired = Authority::new("second").expired_server();
    let (certificate, key) = server.certificate_files();
    std::fs::write(key, expired.key).expect("written");
    std::fs::write(certificate, expired.certificate).expect("written");
    server.tell(Signal::HUP);
    let year_2020 = 1_577_836_800.0;
    wait::until_true("the metric follows", PATIENCE, || expiry() == year_2020);
}

#[test]
fn certificate_that_cannot_be_used_does_not_replace_the_old_one() {
    let server = Settings::default().tls().start();
    let (certificate, key) = server.certificate_files();
    let before = |what: &str| {
        wait::until_true(what, PATIENCE, || server.log().contains(what));
        assert!(client(&server, server.authority()).is_ok(), "{what}: the old one stays");
    };
    std::fs::write(&certificate, "nothing").expect("written");
    server.tell(Signal::HUP);
    before("it has no certificate");
    std::fs::write(&certificate, server.authority().server().certificate).expect("written");
    server.tell(Signal::HUP);
    before("does not belong to the certificate");
    std::fs::remove_file(&key).expect("removed");
    server.tell(Signal::HUP);
    before("cannot use");
    server.expect_log("the old one stays in use");
    let second = Authority::new("second");
    replace(&server, &second);
    wait::until_true("a good one is used", PATIENCE, || client(&server, &second).is_ok());
}

/// Certificates are replaced again and again while records are appended and read.
#[test]
fn reload_under_load_drops_nothing() {
    const RECORDS_MIN: usize = 2000;
    const RELOADS_MIN: usize = 5;
    let server = Settings::default().tls().start();
    let client = client(&server, server.authority()).expect("trusted");
    client.create_log("a", LogConfig::default(), false).expect("created");
    let mut follower = client.consumer("a").follow(true).open().expect("opened");
    let producer = client.producer("a").open().expect("opened");
    let (reloads, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _over = wait::SetOnDrop(&is_done);
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                replace(&server, server.authority());
                server.tell(Signal::HUP);
                reloads.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut sent = 0;
        while sent < RECORDS_MIN || reloads.load(Ordering::Relaxed) < RELOADS_MIN {
            producer.append(format!("{sent}").as_bytes()).expect("taken");
            sent += 1;
            if sent % 100 == 0 {
                producer.flush().expect("durable");
                // New connections during reloads.
                assert_eq!(client.list_logs().expect("answered").len(), 1);
            }
        }
        producer.close().expect("durable");
        let mut seen = 0;
        while seen < sent {
            let batch = follower.next_batch().expect("no error").expect("it follows");
            for record in batch.iter() {
                assert_eq!(record.payload(), format!("{seen}").as_bytes());
                seen += 1;
            }
        }
    });
    server.expect_log("loaded now");
}

/// The output of a server that does not start with these files.
fn refusal(scratch: &Arc<Scratch>, certificate: &Path, key: &Path) -> String {
    let table = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    match Settings::default().table(&table).without_tls_bridge().start_in(scratch.clone()) {
        Err(refusal) => refusal.output,
        Ok(server) => panic!("it was served: {}", server.log()),
    }
}

#[test]
fn mistakes_with_files_are_explained_at_the_start() {
    let scratch = Arc::new(Scratch::new("mistakes"));
    let authority = Authority::new("authority");
    let (signed, other) = (authority.server(), authority.server());
    let certificate = scratch.write("certificate.pem", &signed.certificate);
    let key = scratch.write("key.pem", &signed.key);
    let other = scratch.write("other.pem", &other.key);
    let authority = scratch.write("authority.pem", authority.certificate());
    let nothing = scratch.write("nothing.pem", "nothing");
    let missing = scratch.join("missing.pem");
    let der = scratch.write("certificate.der", [0x30, 0x82, 1, 2, 3]);
    let damaged = signed.certificate.replacen('M', "M\u{0}", 1);
    let damaged = scratch.write("damaged.pem", damaged);
    let encrypted = scratch.write(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (certificate, key, part) in [
        (&authority, &key, "CA:TRUE"),
        (&certificate, &other, "does not belong to the certificate"),
        (&certificate, &encrypted, "openssl pkey"),
        (&missing, &key, "No such file"),
        (&certificate, &missing, "tls.key"),
        (&nothing, &key, "has no certificate"),
        (&certificate, &nothing, "has no private key"),
        (&key, &certificate, "swapped"),
        (&certificate, &certificate, "swapped"),
        (&der, &key, "DER"),
        (&damaged, &key, "PEM"),
    ] {
        let output = refusal(&scratch, certificate, key);
        assert!(output.contains(part), "{part}: {output}");
        assert!(output.contains(".pem") || output.contains(".der"), "it has no path: {output}");
    }
}

#[test]
fn expired_certificate_is_served_with_a_warning() {
    let scratch = Arc::new(Scratch::new("expired"));
    let authority = Authority::new("authority");
    let signed = authority.expired_server();
    let certificate = scratch.write("certificate.pem", signed.certificate);
    let key = scratch.write("key.pem", signed.key);
    let table = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let settings = Settings::default().table(&table).without_tls_bridge().while_scanning();
    let server = settings.start_in(scratch).expect("it starts");
    wait::until_true("the log has a warning", PATIENCE, || server.log().contains("expired"));
    let error = client(&server, &authority).expect_err("it expired");
    assert_eq!(error.code(), "untrusted_server");
    assert!(error.message().contains("renew the server's certificate"), "{error}");
}

/// OpenSSL also writes keys in older forms.
#[test]
fn keys_of_every_common_kind_are_accepted() {
    if Command::new("openssl").arg("version").output().is_err() {
        styx_tests::faults::skip("openssl is not installed");
        return;
    }
    for (kind, arguments) in [
        ("P-256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..]),
        ("P-384", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("Ed25519", &["-newkey", "ed25519"]),
        ("RSA", &["-newkey", "rsa:2048"]),
    ] {
        let scratch = Arc::new(Scratch::new("keys"));
        let (certificate, key) = (scratch.join("certificate.pem"), scratch.join("key.pem"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.args(["-addext", "subjectAltName=DNS:localhost"]).args(arguments);
        command.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        let done = styx_tests::cli::run(command, b"");
        assert_eq!(done.code, 0, "{kind}: {}", done.stderr);
        let table = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
        let settings = Settings::default().table(&table).without_tls_bridge().while_scanning();
        let server = settings.start_in(scratch).expect(kind);
        let connected = Client::builder(&server.tls_url()).ca_file(certificate).connect();
        assert!(connected.is_ok(), "{kind}: {connected:?}");
    }
}
