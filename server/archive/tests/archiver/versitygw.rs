//! [`Versitygw`]: a real server with the protocol of S3, for tests and benchmarks.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use styx_archive::store::{Options, Store};

/// A running `versitygw` over a temporary directory.
pub(crate) struct Versitygw {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Versitygw {
    /// `None` without the environment variable `STYX_TEST_VERSITYGW`.
    pub(crate) fn start() -> Option<Versitygw> {
        let binary = std::env::var_os("STYX_TEST_VERSITYGW")?;
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir_all(directory.path().join("data/bucket")).expect("create the bucket");
        let free = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = free.local_addr().expect("address").port();
        drop(free);
        let child = Command::new(binary)
            .args(["--port", &format!("127.0.0.1:{port}")])
            .args(["--access", "key", "--secret", "secret", "--quiet", "posix"])
            .arg(directory.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start versitygw");
        let server = Versitygw { child, directory, port };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "versitygw does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open("s3://bucket/prefix", &self.options()).expect("open the store")
    }

    pub(crate) fn options(&self) -> Options {
        let file = self.directory.path().join("credentials");
        let text = "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n";
        std::fs::write(&file, text).expect("write the credentials");
        Options {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            credentials_file: Some(file),
            ..Options::default()
        }
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
