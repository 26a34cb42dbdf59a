//! [`ObjectStore`]: a real server with the API of S3 over a scratch directory.
//!
//! It is versitygw, whose objects are files: `BUCKET/KEY` below [`root`](ObjectStore::root). So a
//! test sees what is stored without a client of S3. `cargo xtask test --only object-store` builds
//! the program if it is missing.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::{Connection, Request};
use crate::{Scratch, binary};

/// `tests/xtask/src/versitygw.rs` builds this version.
const VERSION: &str = "1.8.0";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another program may take the port before it does.
const ATTEMPTS_MAX: usize = 5;
/// The bucket that exists from the start.
const BUCKET: &str = "history";
const ACCESS_KEY: &str = "styx-test";
const SECRET_KEY: &str = "styx-test-secret";
const REGION: &str = "us-east-1";

/// A running store. It is killed when this is dropped; its objects go with it.
#[derive(Debug)]
pub struct ObjectStore {
    scratch: Scratch,
    address: SocketAddr,
    child: Option<Child>,
}

impl ObjectStore {
    /// Starts one with an empty bucket.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> ObjectStore {
        let mut failures = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let scratch = Scratch::new("object-store");
            fs::create_dir_all(scratch.join("objects").join(BUCKET)).expect("a directory");
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let address = free.local_addr().expect("an address");
            drop(free);
            let mut store = ObjectStore { scratch, address, child: None };
            if store.run() {
                return store;
            }
            failures.push_str(&store.log());
        }
        panic!("the object store did not start:\n{failures}");
    }

    /// The address that it listens on. It stays the same after [`stop`](Self::stop).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the bucket, as `archive.url` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// The directory whose folders are the buckets.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.scratch.join("objects")
    }

    /// The variables of the environment with which a program may use it.
    #[must_use]
    pub fn credentials() -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
        ]
    }

    /// The keys of all objects in the bucket, sorted, with their lengths.
    ///
    /// # Panics
    /// When the directory cannot be read.
    #[must_use]
    pub fn objects(&self) -> Vec<(String, u64)> {
        let bucket = self.root().join(BUCKET);
        let mut found = Vec::new();
        collect(&bucket, &bucket, &mut found);
        found.sort();
        found
    }

    /// The file of an object.
    #[must_use]
    pub fn file(&self, key: &str) -> PathBuf {
        self.root().join(BUCKET).join(key)
    }

    /// Kills it. Its objects stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same address.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.stop();
        assert!(self.run(), "the object store did not start again:\n{}", self.log());
    }

    /// What it printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// Starts the process; false if it ended before it answered.
    fn run(&mut self) -> bool {
        let output = File::options().create(true).append(true).open(self.scratch.join("log"));
        let output = output.expect("a file");
        let errors = output.try_clone().expect("a handle");
        let mut command = Command::new(program());
        command.args(["--port", &self.address.to_string(), "--keep-alive", "--quiet"]);
        command.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION]);
        command.arg("posix").arg(self.root()).current_dir(self.scratch.path());
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let child = self.child.insert(child);
        let start = Instant::now();
        while start.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
            // Without a signature it refuses everything, but it answers.
            let answer = Connection::try_open(self.address)
                .and_then(|mut connection| connection.exchange(&Request::get("/")));
            if answer.is_ok_and(|answer| answer.status() == 403) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop();
        false
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.stop();
    }
}

fn collect(bucket: &Path, folder: &Path, found: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).expect("a directory that can be read") {
        let path = entry.expect("an entry").path();
        // An object may be removed while this looks. Parts of uploads are in `.sgwtmp`.
        let Ok(metadata) = path.metadata() else { continue };
        let is_internal = path.file_name().is_some_and(|name| name == ".sgwtmp");
        if metadata.is_dir() && !is_internal {
            collect(bucket, &path, found);
        } else if metadata.is_file() {
            let key = path.strip_prefix(bucket).expect("a path below the bucket");
            found.push((key.display().to_string(), metadata.len()));
        }
    }
}

/// The path of versitygw.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn program() -> PathBuf {
    let path = binary::target().join(format!("tools/versitygw-{VERSION}/versitygw"));
    assert!(
        path.is_file(),
        "versitygw is not built; run `cargo xtask test --only object-store` once"
    );
    path
}
