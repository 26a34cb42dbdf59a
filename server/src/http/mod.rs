//! HTTP: from a request to its answer.
//!
//! ```text
//! request → merge slashes → route → authorize → method → handler → session
//! answer  ← date, CORS, request id, counters ←──── Result<Answer, session::Error>
//! ```
//!
//! Each resource has one file. A handler returns an [`Answer`] or a
//! `session::Error`; only [`answer`] decides how an error is encoded. A panic in a
//! handler becomes a 500.

mod answer;
mod archive;
mod authorize;
mod body;
mod content_encoding;
mod cors;
mod cursors;
mod date;
mod events;
mod head;
mod line_stream;
mod management;
mod meta;
mod openapi;
mod read;
mod request_id;
mod route;
mod status;
mod surface;
mod trace;
mod upgrade;
mod write;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use http::header::{DATE, EXPECT, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use styx_protocol::{Checkpoint, Code, LogId};

use crate::app::App;
use crate::auth::Access;
use crate::handover::FrontEnd;
use crate::header;
use crate::limits::Direction;
use crate::peer::{HalfClose, HalfCloseWatch};
use crate::session::{Error, KnownLog, OpenLog};

pub(crate) use answer::{Answer, AnswerBody};
use cors::Cors;
use route::{Resource, Route};
pub(crate) use surface::Surface;
use trace::Trace;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) app: Arc<App>,
    surface: Surface,
    cors: Cors,
    request_ids: request_id::Source,
    /// The protocols that a connection can be upgraded to.
    front_ends: Vec<Box<dyn FrontEnd>>,
}

impl Http {
    /// For listening sockets that serve this part of the API.
    pub(crate) fn new(app: Arc<App>, surface: Surface, front_ends: Vec<Box<dyn FrontEnd>>) -> Http {
        Http {
            surface,
            cors: Cors::new(&app.config.cors_allowed_origins),
            app,
            request_ids: request_id::Source::new(),
            front_ends,
        }
    }

    /// Answers a request. Never fails and never panics.
    pub(crate) async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let begun = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        // The handler gets the body; the rest is needed for the answer.
        let (mut head, body) = request.into_parts();
        if let Some(refusal) = head::refusal(&head) {
            return self.finished(None, &head, begun, Ok(refusal));
        }
        let path = route::normalized(head.uri.path());
        let Some((route, name)) = Route::find(&path, &head.method) else {
            let error = Error::new(
                Code::NotFound,
                format!("there is no resource at {path}; see /openapi.json"),
            );
            return self.finished(None, &head, begun, Err(error));
        };
        if let Some(why) = self.surface.lacks(route.resource) {
            body::discard(body);
            let error = Error::new(Code::NotFound, format!("{path} is not served here: {why}"));
            return self.finished(None, &head, begun, Err(error));
        }
        let name: Arc<str> = name.into();
        let cursor = match route.resource {
            Resource::Cursor => route::cursor_name(&path).to_owned(),
            _ => String::new(),
        };
        let authorized = self.authorize(route, &mut head, &name, &cursor);
        let access = match authorized {
            Ok(access) => access,
            Err(denial) => {
                if !head.headers.contains_key(EXPECT) {
                    // Closing with unread bytes would destroy the answer.
                    body::discard(body);
                }
                let (endpoint, principal) = (denial.endpoint, denial.access.name());
                let result = Err(&denial.error);
                authorize::audit(endpoint, &head, principal, &name, "", result);
                return self.finished(Some(route), &head, begun, Err(denial.error));
            }
        };
        let body = Some(body);
        let mut call = Call {
            http: &self,
            app: &self.app,
            head: &mut head,
            name,
            cursor,
            body,
            log_id: None,
            restored_from: None,
            access,
            opened_stream: None,
        };
        let handled = AssertUnwindSafe(call.handle(route)).catch_unwind().await;
        let (log_id, restored_from) = (call.log_id, call.restored_from);
        let result = handled.unwrap_or_else(|_| {
            Err(Error::new(
                Code::UnknownError,
                "the request failed because of a bug; see the server's log",
            ))
        });
        call.audit(route, result.as_ref().map(|_| ()));
        let mut answer = self.finished(Some(route), &head, begun, result);
        // Errors also have the log's id.
        if let Some(id) = log_id {
            answer.headers_mut().insert(header::LOG_ID, header::of_id(id));
        }
        if let Some(fork) = restored_from {
            answer.headers_mut().insert(header::RESTORED_FROM, header::of_checkpoint(fork));
        }
        answer
    }

    /// Whether the request is about health or metrics, which are always answered.
    pub(crate) fn is_monitoring(request: &Request<Incoming>) -> bool {
        let path = route::normalized(request.uri().path());
        let found = Route::find(&path, request.method());
        found.is_some_and(|(route, _)| {
            matches!(route.resource, Resource::Live | Resource::Ready | Resource::Metrics)
        })
    }

    /// Answers with an error without looking at the request any further. The caller logs
    /// it, because there may be many.
    pub(crate) fn refuse(&self, request: Request<Incoming>, error: Error) -> Answer {
        let (head, body) = request.into_parts();
        // Closing with unread bytes would destroy the answer.
        body::discard(body);
        let path = route::normalized(head.uri.path());
        let route = Route::find(&path, &head.method).map(|(route, _)| route);
        let mut answer = answer::of_error(&error, None);
        if request_id::given(&head.headers).is_none() {
            request_id::echo(Some(&self.request_ids.next()), answer.headers_mut());
        }
        self.finished(route, &head, None, Ok(answer))
    }

    fn finished(
        &self,
        route: Option<Route>,
        head: &http::request::Parts,
        begun: Option<Instant>,
        result: Result<Answer, Error>,
    ) -> Answer {
        let given = request_id::given(&head.headers);
        let mut answer = match result {
            Ok(mut answer) => {
                request_id::echo(given, answer.headers_mut());
                answer
            }
            Err(error) => {
                let id = given.cloned().unwrap_or_else(|| self.request_ids.next());
                report(&error, head, &id);
                let mut answer = answer::of_error(&error, route.map(Route::allowed));
                request_id::echo(Some(&id), answer.headers_mut());
                answer
            }
        };
        if route.is_some_and(|route| route.is_about_logs() && route.allows(&head.method)) {
            self.cors.decorate(&head.headers, answer.headers_mut());
        }
        answer.headers_mut().insert(DATE, date::now());
        let template = route.map(|route| route.template);
        self.app.metrics.request(&head.method, template, answer.status());
        if let Some(begun) = begun {
            let (method, path) = (&head.method, head.uri.path());
            let micros = begun.elapsed().as_micros();
            let status = answer.status().as_u16();
            let Trace { trace_id, parent_id } = Trace::of(&head.headers);
            tracing::debug!(
                %method, path, status, micros, request_id = ?given, trace_id, parent_id, "answered"
            );
        }
        answer
    }
}

/// Logs server faults as errors, other 5xx as information, and the rest as debug output. A
/// principal that has used up its quota must not fill the log either.
fn report(error: &Error, head: &http::request::Parts, id: &HeaderValue) {
    let (method, path, code) = (&head.method, head.uri.path(), error.code.as_str());
    let id = id.to_str().unwrap_or_default();
    let Trace { trace_id, parent_id } = Trace::of(&head.headers);
    if error.is_server_fault() {
        tracing::error!(
            %method, path, code, request_id = id, trace_id, parent_id, "request failed: {error}"
        );
    } else if error.code.http_status() >= 500 && error.code != Code::QuotaExceeded {
        tracing::info!(
            %method, path, code, request_id = id, trace_id, parent_id, "request refused: {error}"
        );
    } else {
        tracing::debug!(
            %method, path, code, request_id = id, trace_id, parent_id, "request refused: {error}"
        );
    }
}

/// One request and what its handler needs.
struct Call<'a> {
    http: &'a Arc<Http>,
    app: &'a Arc<App>,
    head: &'a mut http::request::Parts,
    /// The log's name as written in the path; empty if there is none. That of a new log is
    /// set when it is known.
    name: Arc<str>,
    /// The cursor's name as written in the path; empty if there is none.
    cursor: String,
    body: Option<Incoming>,
    /// The log that the answer is about, when it is known.
    log_id: Option<LogId>,
    /// The log that the request knows, if this one was restored from it, and the fork.
    restored_from: Option<Checkpoint>,
    /// Whose request it is.
    access: Access,
    /// The protocol of the stream that the answer opens.
    opened_stream: Option<&'static str>,
}

impl Call<'_> {
    async fn handle(&mut self, route: Route) -> Result<Answer, Error> {
        use Resource as R;
        if let Some(preflight) = self.http.cors.preflight(route, self.head) {
            return Ok(preflight);
        }
        match (route.resource, &self.head.method) {
            (R::Records, &(Method::GET | Method::POST)) => self.records().await,
            (R::Logs, &Method::GET) => management::list(self),
            (R::Logs, &Method::POST) => management::create(self).await,
            (R::Log, &Method::GET) => management::info(self).await,
            (R::Log, &Method::DELETE) => management::delete(self).await,
            (R::Adopt, &Method::POST) => management::adopt(self).await,
            (R::Truncate, &Method::POST) => management::truncate(self).await,
            (R::Trim, &Method::POST) => management::trim(self).await,
            (R::Backup, &Method::GET) => archive::backup(self).await,
            (R::Cursors, &Method::GET) => cursors::list(self).await,
            (R::Cursor, &Method::GET) => cursors::get(self).await,
            (R::Cursor, &Method::PUT) => cursors::set(self).await,
            (R::Cursor, &Method::DELETE) => cursors::delete(self).await,
            (R::Restore, &Method::POST) => archive::restore(self).await,
            (R::Metrics, &(Method::GET | Method::HEAD)) => meta::metrics(self),
            (R::Status, &Method::GET) => status::get(self).await,
            (R::Live, &(Method::GET | Method::HEAD)) => meta::live(),
            (R::Ready, &(Method::GET | Method::HEAD)) => meta::ready(self),
            (R::Version, &(Method::GET | Method::HEAD)) => meta::version(self),
            (R::OpenApi, &(Method::GET | Method::HEAD)) => meta::openapi(),
            (_, method) => {
                let allowed = route.allowed();
                let message = format!("{method} is not allowed for this path; use {allowed}");
                Err(Error::new(Code::MethodNotAllowed, message))
            }
        }
    }

    /// Upgrades the connection if the request asks for that, else reads or writes.
    async fn records(&mut self) -> Result<Answer, Error> {
        let is_post = self.head.method == Method::POST;
        let refused = |error| if is_post { write::nothing_appended(error) } else { error };
        let protocols = upgrade::wanted(self.headers(), &self.http.front_ends);
        let writes = match protocols {
            // A direction that cannot be parsed is refused later.
            Some(_) => upgrade::writes(self.head, &self.http.front_ends).unwrap_or(false),
            None => is_post,
        };
        let known = match writes {
            true => header::known_to_writer(self.headers()),
            false => header::known_to_reader(self.headers(), self.query()),
        };
        let log = known.and_then(|known| Ok((known, self.log_with(&known)?)));
        let (known, log) = log.map_err(refused)?;
        let log = log.with_meter(self.app.limits.meter(&self.access, &self.name));
        let direction = if writes { Direction::Append } else { Direction::Read };
        let begun = log.meter().connect().and_then(|place| {
            log.meter().begin(direction)?;
            Ok(place)
        });
        if begun.is_err() && !self.headers().contains_key(EXPECT) {
            // Closing with unread bytes would destroy the answer.
            self.body.take().into_iter().for_each(body::discard);
        }
        let place = begun?;
        if let Some(protocols) = protocols {
            return upgrade::upgrade(self, (log, known), &protocols, place).await;
        }
        let mut answer =
            if is_post { write::write(self, log).await } else { read::read(self, log).await }?;
        if let Some(place) = place {
            // The listener keeps it until the answer is sent.
            answer.extensions_mut().insert(place);
        }
        Ok(answer)
    }

    fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// Opens the request's log and checks that it is the one the request knows.
    fn log(&mut self) -> Result<OpenLog, Error> {
        let known = header::known(self.headers())?;
        self.log_with(&known)
    }

    /// Opens the request's log and checks it.
    fn log_with(&mut self, known: &KnownLog) -> Result<OpenLog, Error> {
        let log = self.app.sessions.log(&self.name)?;
        self.log_id = Some(log.id());
        self.restored_from = log.check(known)?;
        Ok(log)
    }

    /// Frees the request's memory before a long wait, except the parts of its head
    /// that the answer needs.
    fn shrink(&mut self) {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        let mut kept = HeaderMap::with_capacity(3);
        for name in [ORIGIN, header::REQUEST_ID, header::TRACEPARENT] {
            if let Some(value) = self.head.headers.get(&name).and_then(copy) {
                kept.insert(name, value);
            }
        }
        self.head.headers = kept;
        self.head.uri = self.head.uri.path().parse().unwrap_or_default();
        self.body = None;
    }

    /// Notices from now on if the peer closes its sending side. An HTTP/2 peer does not:
    /// it closes the connection.
    fn watch_half_close(&self) -> HalfCloseWatch {
        self.head.extensions.get::<HalfClose>().cloned().unwrap_or_default().watch()
    }

    /// The request's body, decoded and with its timeout.
    fn take_body(&mut self) -> Result<body::RequestBody, Error> {
        let body = body::RequestBody::new(
            self.body.take(),
            content_encoding::ContentDecoder::for_request(self.headers())?,
            self.app.config.tcp_timeout,
        )?;
        Ok(body.of_http2(self.head.version == Version::HTTP_2))
    }
}
