//! [`StoreProxy`]: a proxy in front of an [`ObjectStore`](crate::object_store::ObjectStore) that
//! breaks exchanges on command.
//!
//! ```text
//! server ── request ─▶ proxy ── request ─▶ store
//!        ◀─ fault? ───       ◀─ answer ───
//! ```
//!
//! It forwards whole requests and whole answers of HTTP/1.1. The worst faults happen after the
//! store has carried out a request: the client sees an error, but the object was written.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting connection looks whether its fault was taken away.
const TICK: Duration = Duration::from_millis(5);
/// Heads and bodies that are longer than these are faults of the tests.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: u64 = 256 << 20;

/// What happens to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The store does not get the request. The client gets this status.
    Refuse(u16),
    /// The store carries the request out. The client gets this status.
    AnswerAfterSuccess(u16),
    /// The store carries the request out. The connection is reset after this number of bytes of
    /// the answer.
    CutAnswer(usize),
    /// The request is forwarded after this time.
    Delay(Duration),
    /// The answer is sent in pieces of this number of bytes, one every 10 ms.
    SlowAnswer(usize),
    /// The store does not get the request, and the client gets no answer until the fault ends.
    Hang,
    /// Connections are reset as soon as a request comes.
    Away,
    /// If the store refuses a condition, the client is told that it was fulfilled.
    AcceptConditions,
}

/// Which exchanges a fault meets.
#[derive(Debug, Clone)]
pub struct StoreRule {
    /// The fault.
    pub fault: StoreFault,
    /// The methods, such as `PUT`; empty for all.
    pub methods: Vec<&'static str>,
    /// A part of the path and query of the request; empty for all.
    pub containing: String,
    /// One in this number of the exchanges that match; 1 for all.
    pub one_in: u64,
}

impl StoreRule {
    /// A rule for every exchange.
    #[must_use]
    pub fn all(fault: StoreFault) -> StoreRule {
        StoreRule { fault, methods: Vec::new(), containing: String::new(), one_in: 1 }
    }

    /// The same for these methods only.
    #[must_use]
    pub fn methods(mut self, methods: &[&'static str]) -> StoreRule {
        self.methods = methods.to_vec();
        self
    }

    /// The same for requests with this text in the path or query only.
    #[must_use]
    pub fn containing(mut self, text: &str) -> StoreRule {
        text.clone_into(&mut self.containing);
        self
    }

    /// The same for one in this number of exchanges.
    #[must_use]
    pub fn one_in(mut self, number: u64) -> StoreRule {
        self.one_in = number.max(1);
        self
    }
}

/// A request that came by: its method, and its path with the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Such as `PUT`.
    pub method: String,
    /// Such as `/history/logs/…`.
    pub target: String,
    /// The header `Range`, if there is one.
    pub range: Option<String>,
}

/// The proxy. Dropping it closes all its connections.
#[derive(Debug)]
pub struct StoreProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: SocketAddr,
    rules: Mutex<Vec<StoreRule>>,
    matches: AtomicU64,
    faults: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    ended: AtomicBool,
}

impl StoreProxy {
    /// Starts to forward to a store, without faults.
    ///
    /// # Panics
    /// When no port is available.
    #[must_use]
    pub fn start(store: SocketAddr) -> StoreProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            store,
            rules: Mutex::default(),
            matches: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        std::thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if shared.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = shared.clone();
                    std::thread::spawn(move || shared.serve(client));
                }
            }
        });
        StoreProxy { address, shared }
    }

    /// Where clients connect: the value of `archive.endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, the first of these rules that matches an exchange decides. Exchanges that
    /// wait because of another rule go on.
    pub fn inject(&self, rules: &[StoreRule]) {
        *locked(&self.shared.rules) = rules.to_vec();
    }

    /// The number of exchanges that met a fault.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// The requests since the last call, in the order in which they came.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut locked(&self.shared.seen))
    }
}

impl Drop for StoreProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// A request or an answer.
struct Message {
    head: Vec<u8>,
    /// The bytes after the head, as they were sent: with the sizes of chunks, if there are any.
    body: Vec<u8>,
}

impl Shared {
    /// Forwards the requests of one connection, each on a connection of its own to the store.
    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut requests = BufReader::new(client.try_clone().ok()?);
        loop {
            let request = read_message(&mut requests, None)?;
            let (method, target) = request.line()?;
            let range = request.header("range").map(str::to_owned);
            locked(&self.seen).push(Seen { method: method.clone(), target: target.clone(), range });
            let fault = self.fault_for(&method, &target);
            if self.exchange(&client, &request, &method, fault).is_none() {
                let _ = client.shutdown(Shutdown::Both);
                return None;
            }
        }
    }

    /// `None` if the connection must end.
    fn exchange(
        &self,
        mut client: &TcpStream,
        request: &Message,
        method: &str,
        fault: Option<StoreFault>,
    ) -> Option<()> {
        match fault {
            Some(StoreFault::Refuse(status)) => return client.write_all(&plain(status)).ok(),
            Some(StoreFault::Delay(time)) => std::thread::sleep(time),
            Some(StoreFault::Hang) => {
                while self.is_hanging() {
                    std::thread::sleep(TICK);
                }
                return None;
            }
            Some(StoreFault::Away) => return reset(client),
            _ => {}
        }
        let Some(answer) = self.ask_store(request, method) else { return reset(client) };
        let is_refused = answer.line().is_some_and(|(_, status)| status == "412");
        if fault == Some(StoreFault::AcceptConditions) && is_refused {
            let accepted = b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n";
            return client.write_all(accepted).ok();
        }
        let bytes = [answer.head, answer.body].concat();
        match fault {
            Some(StoreFault::AnswerAfterSuccess(status)) => client.write_all(&plain(status)).ok(),
            Some(StoreFault::CutAnswer(count)) => {
                let _ = client.write_all(bytes.get(..count).unwrap_or(&bytes));
                reset(client)
            }
            Some(StoreFault::SlowAnswer(count)) => {
                for piece in bytes.chunks(count.max(1)) {
                    client.write_all(piece).ok()?;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Some(())
            }
            _ => client.write_all(&bytes).ok(),
        }
    }

    fn ask_store(&self, request: &Message, method: &str) -> Option<Message> {
        let mut store = TcpStream::connect(self.store).ok()?;
        store.write_all(&request.head).ok()?;
        store.write_all(&request.body).ok()?;
        read_message(&mut BufReader::new(store), Some(method))
    }

    fn fault_for(&self, method: &str, target: &str) -> Option<StoreFault> {
        let rules = locked(&self.rules);
        let is_met = |rule: &&StoreRule| {
            (rule.methods.is_empty() || rule.methods.contains(&method))
                && target.contains(&rule.containing)
        };
        let rule = rules.iter().find(is_met)?;
        let number = self.matches.fetch_add(1, Ordering::Relaxed);
        let is_chosen = number.is_multiple_of(rule.one_in);
        if is_chosen {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        is_chosen.then_some(rule.fault)
    }

    fn is_hanging(&self) -> bool {
        let is_hang = |rule: &StoreRule| rule.fault == StoreFault::Hang;
        !self.ended.load(Ordering::Relaxed) && locked(&self.rules).iter().any(is_hang)
    }
}

impl Message {
    /// The first two words of the first line.
    fn line(&self) -> Option<(String, String)> {
        let head = std::str::from_utf8(&self.head).ok()?;
        let mut words = head.lines().next()?.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).ok()?;
        let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Reads a request, or the answer to a request with this method. `None` at the end, and if it is
/// not one.
fn read_message(from: &mut impl BufRead, answers: Option<&str>) -> Option<Message> {
    let mut message = Message { head: Vec::new(), body: Vec::new() };
    loop {
        let before = message.head.len();
        from.read_until(b'\n', &mut message.head).ok()?;
        let line = message.head.get(before..)?;
        if line.is_empty() || message.head.len() > HEAD_BYTES_MAX {
            return None;
        }
        if line == b"\r\n" {
            break;
        }
    }
    let status = answers.and_then(|_| message.line()).map(|(_, status)| status);
    let is_bare = answers == Some("HEAD") || matches!(status.as_deref(), Some("204" | "304"));
    if is_bare {
        return Some(message);
    }
    if message.header("transfer-encoding").is_some() {
        read_chunks(from, &mut message.body)?;
    } else {
        let length = match message.header("content-length") {
            Some(length) => length.parse().ok()?,
            // An answer without a length ends with the connection.
            None if answers.is_some() => BODY_BYTES_MAX,
            None => 0,
        };
        let is_known = message.header("content-length").is_some();
        from.take(length.min(BODY_BYTES_MAX)).read_to_end(&mut message.body).ok()?;
        if is_known && message.body.len() as u64 != length {
            return None;
        }
    }
    Some(message)
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let before = body.len();
        from.read_until(b'\n', body).ok()?;
        let line = std::str::from_utf8(body.get(before..)?).ok()?.trim();
        let size = u64::from_str_radix(line.split(';').next()?, 16).ok()?;
        // With the line end after the chunk. No trailers are expected.
        from.by_ref().take(size.min(BODY_BYTES_MAX) + 2).read_to_end(body).ok()?;
        if size == 0 {
            return Some(());
        }
    }
}

/// An answer of the proxy, as S3 sends it.
fn plain(status: u16) -> Vec<u8> {
    let body = "<Error><Code>SlowDown</Code><Message>injected by a test</Message></Error>";
    let head = format!(
        "HTTP/1.1 {status} Injected\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Closing the socket after this resets the connection.
fn reset(client: &TcpStream) -> Option<()> {
    let _ = rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO));
    None
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Connection, Request};

    /// A store that counts its requests, and answers each with its body.
    fn echo() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let count = Arc::new(AtomicU64::new(0));
        let counting = count.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(client.try_clone().expect("a handle"));
                let Some(request) = read_message(&mut reader, None) else { continue };
                counting.fetch_add(1, Ordering::SeqCst);
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
                let answer = [head.as_bytes(), &request.body].concat();
                let _ = (&client).write_all(&answer);
            }
        });
        (address, count)
    }

    fn put(proxy: &StoreProxy, target: &str) -> std::io::Result<crate::Response> {
        let mut connection = Connection::open(proxy.address);
        connection.exchange(&Request::new("PUT", target).typed("text/plain", "body"))
    }

    #[test]
    fn a_proxy_without_rules_forwards_and_records_requests() {
        let (store, count) = echo();
        let proxy = StoreProxy::start(store);
        let answer = put(&proxy, "/history/a?x=1").expect("an answer");
        assert_eq!((answer.status(), &answer.body[..]), (200, &b"body"[..]));
        assert_eq!((count.load(Ordering::SeqCst), proxy.faults()), (1, 0));
        let seen = proxy.take_seen();
        assert_eq!(seen.len(), 1);
        assert_eq!((&seen[0].method[..], &seen[0].target[..]), ("PUT", "/history/a?x=1"));
        assert!(proxy.take_seen().is_empty());
    }

    #[test]
    fn faults_differ_in_whether_the_store_has_carried_out_the_request() {
        for (fault, status, carried_out) in [
            (StoreFault::Refuse(503), Some(503), 0),
            (StoreFault::AnswerAfterSuccess(503), Some(503), 1),
            (StoreFault::CutAnswer(0), None, 1),
            (StoreFault::CutAnswer(20), None, 1),
            (StoreFault::Delay(Duration::from_millis(1)), Some(200), 1),
            (StoreFault::SlowAnswer(16), Some(200), 1),
            (StoreFault::Away, None, 0),
        ] {
            let (store, count) = echo();
            let proxy = StoreProxy::start(store);
            proxy.inject(&[StoreRule::all(fault)]);
            let got = put(&proxy, "/a").ok().map(|answer| answer.status());
            assert_eq!((got, count.load(Ordering::SeqCst)), (status, carried_out), "{fault:?}");
            assert_eq!(proxy.faults(), 1, "{fault:?}");
        }
    }

    #[test]
    fn a_hanging_exchange_ends_when_the_rule_is_taken_away() {
        let (store, count) = echo();
        let proxy = StoreProxy::start(store);
        proxy.inject(&[StoreRule::all(StoreFault::Hang)]);
        std::thread::scope(|scope| {
            let hanging = scope.spawn(|| put(&proxy, "/a").is_ok());
            while proxy.faults() == 0 {
                std::thread::yield_now();
            }
            proxy.inject(&[]);
            assert!(!hanging.join().expect("no panic"), "the connection must end");
        });
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert_eq!(put(&proxy, "/a").expect("an answer").status(), 200);
    }

    #[test]
    fn a_rule_meets_its_methods_its_paths_and_one_in_a_number() {
        let (store, _) = echo();
        let proxy = StoreProxy::start(store);
        let fault = StoreFault::Refuse(503);
        proxy.inject(&[StoreRule::all(fault).methods(&["GET"])]);
        assert_eq!(put(&proxy, "/a").expect("an answer").status(), 200);
        proxy.inject(&[StoreRule::all(fault).methods(&["PUT"]).containing(".seg").one_in(2)]);
        assert_eq!(put(&proxy, "/a").expect("an answer").status(), 200);
        let statuses = [0; 4].map(|_| put(&proxy, "/a.seg").expect("an answer").status());
        assert_eq!(statuses, [503, 200, 503, 200]);
    }
}
