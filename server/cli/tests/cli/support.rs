//! [`FakeServer`]: a server with canned responses, and a runner for the binary. Tests see
//! what the command line sends and how it handles responses, without any log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns the bytes of a response. After a response without a length the connection is
/// closed.
pub(crate) type Handler = dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync;

pub(crate) struct FakeServer {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeServer {
    /// Answers each request with the result of `handler`, which gets its number and itself.
    pub(crate) fn start(
        handler: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, handler): (_, Arc<Handler>) = (Arc::clone(&requests), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, &seen, &*handler));
            }
        });
        FakeServer { address, requests }
    }

    /// Sends this response as soon as a request begins, and closes the connection with most
    /// of the body unread.
    pub(crate) fn hanging_up(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("is bound"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // Not before the request: clients refuse a response without a request.
                stream.read_exact(&mut [0]).expect("it sends");
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("it listens");
                stream.read_exact(&mut [0; 1 << 20]).expect("it sends");
                stream.write_all(&answer).expect("it listens");
            }
        });
        FakeServer { address, requests: Arc::default() }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread panicked").clone()
    }

    /// Runs `styx …` against the server with this standard input.
    pub(crate) fn styx(&self, arguments: &str, stdin: &[u8]) -> Ran {
        let mut child = self.spawn(arguments);
        let mut pipe = child.stdin.take().expect("is piped");
        let stdin = stdin.to_vec();
        // The command may end before it has read everything.
        let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
        let ran = Ran::from(child.wait_with_output().expect("it ran"));
        feeder.join().expect("it only writes");
        ran
    }

    pub(crate) fn spawn(&self, arguments: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_styx"))
            .args(arguments.split_whitespace())
            .env("STYX_HOST", &self.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts")
    }
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let stderr = String::from_utf8(output.stderr).expect("text");
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Ran {
    /// Checks for exit code 0, this standard output and no standard error.
    pub(crate) fn printed(&self, stdout: &[u8]) {
        assert_eq!(self.stderr, "");
        assert_eq!(String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(stdout));
        assert_eq!(self.code, Some(0));
    }

    /// Checks for exit code 1, this standard output and one message with these parts.
    pub(crate) fn failed(&self, stdout: &[u8], parts: &[&str]) {
        assert_eq!(String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(stdout));
        assert!(self.stderr.starts_with("Error: "), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {}", self.stderr);
        }
        assert_eq!(self.code, Some(1));
    }
}

/// A complete response.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// An error response in the format of the API.
pub(crate) fn error(status: u16, code: &str, message: &str, more: &str) -> Vec<u8> {
    let body = format!("{{\"code\": \"{code}\", \"message\": \"{message}\"{more}}}\n");
    answer(status, "", body.as_bytes())
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(request) = read(&mut reader, &mut writer) {
        let number = {
            let mut seen = seen.lock().expect("no thread panicked");
            seen.push(request.clone());
            seen.len() - 1
        };
        let answer = handler(number, &request);
        if writer.write_all(&answer).is_err() {
            return;
        }
        let head = String::from_utf8_lossy(&answer[..answer.len().min(500)]).to_lowercase();
        if !head.contains("content-length: ") || head.contains("x-cut: ") {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    let headers = lines.iter().filter_map(|l| l.split_once(": "));
    let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut request = Request { line, headers, body: Vec::new() };
    if request.header("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().expect("a number")];
        reader.read_exact(&mut request.body).ok()?;
    } else if request.header("transfer-encoding").is_some() {
        request.body = read_chunks(reader)?;
    }
    Some(request)
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).expect("hex");
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
