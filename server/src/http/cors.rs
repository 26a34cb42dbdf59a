//! Decides which browser origins may use the server: `cors_allowed_origins`.
//!
//! Every answer about logs has `Vary: Origin`. An allowed origin gets `*` if all
//! origins are allowed; otherwise it gets its own name. Credentials are never allowed.
//! A preflight request is answered for every path about logs.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer::{self, Answer};
use super::route::Route;

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Styx-Log-Id, X-Styx-Start-Position, X-Styx-End-Position, X-Styx-Next-Position, \
     X-Request-Id, Retry-After, Content-Disposition, Allow, ETag",
);
/// Seconds for which a browser may cache a preflight answer: Chromium's maximum.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// The allowed origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cors {
    All,
    Listed(Vec<String>),
}

impl Cors {
    pub(super) fn new(patterns: &[String]) -> Cors {
        if patterns.iter().any(|pattern| pattern == "*") {
            Cors::All
        } else {
            Cors::Listed(patterns.iter().map(|p| p.to_ascii_lowercase()).collect())
        }
    }

    /// The value of `Access-Control-Allow-Origin` for an origin; `None` if it is not allowed.
    fn permission(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Cors::All => Some(HeaderValue::from_static("*")),
            Cors::Listed(patterns) => {
                let text = origin.to_str().ok()?.to_ascii_lowercase();
                let mut patterns = patterns.iter();
                patterns.any(|pattern| matches(pattern, &text)).then(|| origin.clone())
            }
        }
    }

    /// Whether a page of this origin may open a WebSocket.
    pub(super) fn allows(&self, origin: &HeaderValue) -> bool {
        self.permission(origin).is_some()
    }

    /// Adds the CORS headers to an answer about logs.
    pub(super) fn decorate(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = request.get(ORIGIN) else { return };
        if let Some(permission) = self.permission(origin) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, permission);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The answer to a preflight request; `None` for every other request.
    pub(super) fn preflight(&self, route: Route, request: &Parts) -> Option<Answer> {
        let headers = &request.headers;
        if request.method != Method::OPTIONS
            || !route.is_about_logs()
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut answer = answer::empty();
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let out = answer.headers_mut();
        out.insert(
            VARY,
            HeaderValue::from_static(
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        );
        if let Some(permission) = headers.get(ORIGIN).and_then(|origin| self.permission(origin)) {
            out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, permission);
            if let Ok(allowed) = HeaderValue::try_from(route.allowed()) {
                out.insert(ACCESS_CONTROL_ALLOW_METHODS, allowed);
            }
            if let Some(requested) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                out.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
            }
            out.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        }
        Some(answer)
    }
}

/// Whether `text` matches `pattern`, in which each `*` matches any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = text.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(patterns: &[&str], origin: &'static str) -> Option<HeaderValue> {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        Cors::new(&patterns).permission(&HeaderValue::from_static(origin))
    }

    #[test]
    fn patterns_match_whole_origins() {
        for (pattern, origin, expected) in [
            ("http://a.com", "http://a.com", true),
            ("http://a.com", "HTTP://A.com", true),
            ("http://a.com", "http://a.com.evil.org", false),
            ("http://*.a.com", "http://x.a.com", true),
            ("http://*.a.com", "http://a.com", false),
            ("http://*.a.com", "http://x.a.com.evil.org", false),
            ("http://a.com:*", "http://a.com:8080", true),
            ("*://*.a.com:*", "https://x.a.com:1", true),
            ("*://*.a.com:*", "https://x.a.com", false),
            ("http://a*a", "http://a", false),
        ] {
            let allowed = permission(&[pattern], origin).is_some();
            assert_eq!(allowed, expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn allowed_origin_gets_a_star_or_its_own_name() {
        assert_eq!(permission(&["x", "*"], "http://a").expect("allowed"), "*");
        assert_eq!(permission(&["http://a"], "http://a").expect("allowed"), "http://a");
        assert_eq!(permission(&[], "http://a"), None);
    }

    #[test]
    fn only_preflight_requests_get_a_preflight_answer() {
        let preflight = |method: &str, path: &str, wants: bool| {
            let mut request = http::Request::builder().method(method).header(ORIGIN, "http://a");
            if wants {
                request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
            }
            let request = request.body(()).expect("a request").into_parts().0;
            let (route, _) = Route::find(path, &request.method).expect("a route");
            Cors::All.preflight(route, &request)
        };
        let answer = preflight("OPTIONS", "/logs/a/records", true).expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert!(preflight("OPTIONS", "/logs/a/records", false).is_none());
        assert!(preflight("GET", "/logs/a/records", true).is_none());
        assert!(preflight("OPTIONS", "/metrics", true).is_none());
    }
}
