//! An S3 server in memory that can be told to fail.
//!
//! It knows the requests that the archive sends, and does not check signatures. Faults are applied
//! to the next requests that match them, one fault for each request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use styx_archive::store::{Options, Store};
use tokio::net::TcpListener;

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is not carried out. The answer has this status.
    Refuse(u16),
    /// The request is carried out, but the answer has this status.
    LieAfter(u16),
    /// The connection is closed before the request is carried out.
    CutBefore,
    /// The request is carried out, and the connection is closed without an answer.
    CutAfter,
    /// The request is not carried out, but the answer says so.
    Lose,
    /// The answer's body ends after half of its bytes.
    HalfBody,
    /// The request waits this number of milliseconds before it is carried out.
    Delay(u64),
}

struct Order {
    method: Method,
    key: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    tag: String,
    pub(crate) crc: Option<String>,
    pub(crate) modified: SystemTime,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, (Option<String>, BTreeMap<u32, Bytes>)>,
    orders: Vec<Order>,
    requests: Vec<(Method, String)>,
    /// Checks the condition, waits, and writes: such a service lets several writers win.
    is_racy: bool,
    counter: u64,
    away: bool,
}

/// A running server with one bucket. It ends with the test's process.
#[derive(Clone)]
pub(crate) struct S3 {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

pub(crate) const BUCKET: &str = "bucket";

impl S3 {
    pub(crate) fn start() -> S3 {
        let state = Arc::new(Mutex::new(State::default()));
        let (tell, told) = std::sync::mpsc::channel();
        let serving = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(serve(serving, tell));
        });
        let address = told.recv().expect("the server listens");
        S3 { state, address }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{BUCKET}/prefix")
    }

    /// Options with short deadlines.
    pub(crate) fn options(&self) -> Options {
        static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
            let file = std::env::temp_dir().join(format!("styx-archive-{}", std::process::id()));
            let text = "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n";
            std::fs::write(&file, text).expect("write the credentials");
            file
        });
        Options {
            endpoint: Some(self.endpoint()),
            credentials_file: Some(FILE.clone()),
            stall_deadline: Duration::from_millis(500),
            ..Options::default()
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.url(), &self.options()).expect("open the store")
    }

    /// The next `times` requests of this kind with this text in their key fail.
    pub(crate) fn order(&self, method: Method, key: &str, times: usize, fault: Fault) {
        self.order_later(method, key, 0, times, fault);
    }

    /// As [`S3::order`], after `skip` matching requests.
    pub(crate) fn order_later(
        &self,
        method: Method,
        key: &str,
        skip: usize,
        times: usize,
        fault: Fault,
    ) {
        let key = key.to_owned();
        self.state().orders.push(Order { method, key, skip, times, fault });
    }

    /// No request fails any more.
    pub(crate) fn forget_orders(&self) {
        self.state().orders.clear();
    }

    /// From now on, conditions are checked before the write and not together with it.
    pub(crate) fn be_racy(&self) {
        self.state().is_racy = true;
    }

    /// While it is away, every request fails with 503.
    pub(crate) fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let state = self.state();
        state.objects.keys().map(|key| key.trim_start_matches("prefix/").to_owned()).collect()
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.state().objects.get(&format!("prefix/{key}")).cloned()
    }

    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Object)) {
        let mut state = self.state();
        change(state.objects.get_mut(&format!("prefix/{key}")).expect("the object exists"));
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8], age: Duration) {
        let modified = SystemTime::now() - age;
        let object = Object {
            bytes: Bytes::copy_from_slice(bytes),
            tag: "\"x\"".into(),
            crc: None,
            modified,
        };
        self.state().objects.insert(format!("prefix/{key}"), object);
    }

    pub(crate) fn remove(&self, key: &str) {
        self.state().objects.remove(&format!("prefix/{key}"));
    }

    /// The number of requests of this kind with this text in their key.
    pub(crate) fn requests(&self, method: Method, key: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|(m, k)| *m == method && k.contains(key)).count()
    }

    /// The number of requests that change objects.
    pub(crate) fn writes(&self) -> usize {
        let reads = [Method::GET, Method::HEAD];
        self.state().requests.iter().filter(|(method, _)| !reads.contains(method)).count()
    }

    pub(crate) fn all_requests(&self) -> usize {
        self.state().requests.len()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics here")
    }
}

async fn serve(state: Arc<Mutex<State>>, tell: std::sync::mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    tell.send(listener.local_addr().expect("address")).expect("the test waits");
    while let Ok((socket, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(state.clone(), request));
            // An error is how a connection is cut.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}

/// Cuts the connection.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>, Cut> {
    let (head, body) = request.into_parts();
    let key = head.uri.path().trim_start_matches('/').to_owned();
    let key = key.strip_prefix(BUCKET).unwrap_or(&key).trim_start_matches('/').to_owned();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let (fault, racy) = {
        let mut state = state.lock().expect("no test panics here");
        state.requests.push((head.method.clone(), key.clone()));
        if state.away {
            return Ok(full(status(503)));
        }
        (take_fault(&mut state, &head.method, &key), state.is_racy)
    };
    let call = Call {
        method: head.method,
        key,
        headers: head.headers,
        body,
        query: head.uri.query().unwrap_or("").to_owned(),
    };
    match fault {
        Some(Fault::Refuse(code)) => return Ok(full(status(code))),
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::Lose) => {
            return Ok(full(
                Response::builder().header("etag", "\"lost\"").body(Bytes::new()).expect("valid"),
            ));
        }
        Some(Fault::Delay(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
    let mut allowed = None;
    if racy && call.method == Method::PUT {
        allowed = Some(call.allowed(&state.lock().expect("no test panics here")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let response = call.carry_out(&mut state.lock().expect("no test panics here"), allowed);
    match fault {
        Some(Fault::LieAfter(code)) => Ok(full(status(code))),
        Some(Fault::CutAfter) => Err(Cut),
        Some(Fault::HalfBody) => {
            let (mut head, body) = response.into_parts();
            head.headers.insert("content-length", body.len().into());
            let half = body.slice(..body.len() / 2);
            let frames = [
                Ok(hyper::body::Frame::data(half)),
                Err(std::io::Error::other("cut in the middle")),
            ];
            let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            Ok(Response::from_parts(head, body.boxed()))
        }
        _ => Ok(full(response)),
    }
}

fn full(
    response: Response<Bytes>,
) -> Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>> {
    response.map(|bytes| Full::new(bytes).map_err(|e: Infallible| match e {}).boxed())
}

fn status(code: u16) -> Response<Bytes> {
    let body = Bytes::from(format!("<Error><Code>Ordered{code}</Code></Error>"));
    Response::builder().status(code).body(body).expect("a valid status")
}

fn take_fault(state: &mut State, method: &Method, key: &str) -> Option<Fault> {
    let matches =
        |order: &&mut Order| order.method == *method && key.contains(&order.key) && order.times > 0;
    let order = state.orders.iter_mut().find(matches)?;
    if order.skip > 0 {
        order.skip -= 1;
        return None;
    }
    order.times -= 1;
    Some(order.fault)
}

struct Call {
    method: Method,
    key: String,
    headers: HeaderMap,
    body: Bytes,
    query: String,
}

impl Call {
    fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        form_parts(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether the conditions of a write hold.
    fn allowed(&self, state: &State) -> bool {
        let current = state.objects.get(&self.key);
        let wanted = self.header("if-match");
        let is_match = wanted.is_none_or(|tag| current.is_some_and(|object| object.tag == tag));
        is_match && (self.header("if-none-match").is_none() || current.is_none())
    }

    fn carry_out(&self, state: &mut State, allowed: Option<bool>) -> Response<Bytes> {
        match (&self.method, self.parameter("uploadId")) {
            (&Method::PUT, Some(id)) => {
                let part = self.parameter("partNumber").and_then(|n| n.parse().ok()).unwrap_or(0);
                let Some((_, parts)) = state.uploads.get_mut(&id) else { return status(404) };
                parts.insert(part, self.body.clone());
                ok().header("etag", format!("\"part-{part}\"")).body(Bytes::new()).expect("valid")
            }
            (&Method::PUT, None) => {
                if !allowed.unwrap_or_else(|| self.allowed(state)) {
                    return status(412);
                }
                let tag = state.store(&self.key, self.body.clone(), self.header(CRC));
                ok().header("etag", tag).body(Bytes::new()).expect("valid")
            }
            (&Method::POST, None) if self.query.starts_with("uploads") => {
                state.counter += 1;
                let id = format!("upload-{}", state.counter);
                state.uploads.insert(id.clone(), (self.header(CRC), BTreeMap::new()));
                let xml = format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId>\
                     </InitiateMultipartUploadResult>"
                );
                ok().body(Bytes::from(xml)).expect("valid")
            }
            (&Method::POST, Some(id)) => {
                let Some((crc, parts)) = state.uploads.remove(&id) else { return status(404) };
                let bytes = Bytes::from(parts.into_values().collect::<Vec<_>>().concat());
                let tag = state.store(&self.key, bytes, crc);
                let xml = format!(
                    "<CompleteMultipartUploadResult><ETag>{tag}</ETag>\
                     </CompleteMultipartUploadResult>"
                );
                ok().body(Bytes::from(xml)).expect("valid")
            }
            (&Method::DELETE, Some(id)) => {
                state.uploads.remove(&id);
                no_content()
            }
            (&Method::DELETE, None) => {
                state.objects.remove(&self.key);
                no_content()
            }
            (&Method::GET, None) if self.query.contains("list-type") => self.list(state),
            (&Method::GET | &Method::HEAD, None) => self.read(state),
            _ => status(400),
        }
    }

    fn read(&self, state: &State) -> Response<Bytes> {
        let Some(object) = state.objects.get(&self.key) else { return status(404) };
        if self.header("if-none-match").is_some_and(|tag| tag == object.tag) {
            return status(304);
        }
        let mut response =
            ok().header("etag", &object.tag).header("last-modified", http_date(object.modified));
        if let Some(crc) = &object.crc {
            response = response.header(CRC, crc);
        }
        if self.method == Method::HEAD {
            let response = response.header("content-length", object.bytes.len());
            return response.body(Bytes::new()).expect("valid");
        }
        let Some(range) = self.header("range") else {
            return response.body(object.bytes.clone()).expect("valid");
        };
        let (from, to) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
        let (from, to): (usize, usize) = (from.parse().expect("from"), to.parse().expect("to"));
        if from >= object.bytes.len() {
            return status(416);
        }
        let end = (to + 1).min(object.bytes.len());
        let shown = format!("bytes {from}-{}/{}", end - 1, object.bytes.len());
        let response = response.status(206).header("content-range", shown);
        response.body(object.bytes.slice(from..end)).expect("valid")
    }

    fn list(&self, state: &State) -> Response<Bytes> {
        let prefix = self.parameter("prefix").unwrap_or_default();
        let folders_only = self.parameter("delimiter").is_some();
        let mut xml = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
        let mut folders = std::collections::BTreeSet::new();
        for (key, object) in &state.objects {
            let Some(rest) = key.strip_prefix(&prefix) else { continue };
            if let (true, Some((folder, _))) = (folders_only, rest.split_once('/')) {
                folders.insert(format!("{prefix}{folder}/"));
                continue;
            }
            let modified = iso_date(object.modified);
            xml += &format!(
                "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>\
                 <ETag>{}</ETag><Size>{}</Size></Contents>",
                object.tag.replace('"', "&quot;"),
                object.bytes.len()
            );
        }
        for folder in folders {
            xml += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
        }
        ok().body(Bytes::from(xml + "</ListBucketResult>")).expect("valid")
    }
}

impl State {
    fn store(&mut self, key: &str, bytes: Bytes, crc: Option<String>) -> String {
        self.counter += 1;
        let tag = format!("\"{}\"", self.counter);
        let object = Object { bytes, tag: tag.clone(), crc, modified: SystemTime::now() };
        self.objects.insert(key.to_owned(), object);
        tag
    }
}

const CRC: &str = "x-amz-meta-styxcrc32c";

fn ok() -> http::response::Builder {
    Response::builder().status(StatusCode::OK)
}

fn no_content() -> Response<Bytes> {
    Response::builder().status(204).body(Bytes::new()).expect("valid")
}

fn form_parts(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (key.to_owned(), value.replace("%2F", "/"))
    })
}

fn http_date(time: SystemTime) -> String {
    let date = jiff::Timestamp::try_from(time).expect("a date");
    date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn iso_date(time: SystemTime) -> String {
    let date = jiff::Timestamp::try_from(time).expect("a date");
    date.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
