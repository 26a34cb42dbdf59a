//! The table of routes: every path, its methods, and what each requires of its caller.
//!
//! It is written by hand, because the contract has three special rules: repeated
//! slashes are merged, logs do not take `HEAD`, and `/logs/restore` is also the
//! path of a log named `restore`. The tests of [`openapi`](super::openapi)
//! compare it with the OpenAPI document.

use std::borrow::Cow;

use http::Method;

use crate::auth::{Action, Rule};

/// The resource that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Resource {
    Logs,
    Restore,
    Log,
    Adopt,
    Truncate,
    Trim,
    Backup,
    Cursors,
    Cursor,
    Records,
    Metrics,
    Status,
    Live,
    Ready,
    Version,
    OpenApi,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) resource: Resource,
    /// The path with `{name}` for a log's name, and `{cursor}` for a cursor's.
    pub(crate) template: &'static str,
    /// The methods of the path, in the order in which `Allow` lists them.
    endpoints: &'static [Endpoint],
}

/// A method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    method: &'static str,
    /// What a caller needs if access control is on.
    pub(crate) rule: Rule,
    /// What it does, for the audit log.
    pub(crate) operation: &'static str,
    /// Whether each call is a line of the audit log, even if it is not refused.
    pub(crate) is_audited: bool,
}

use Action as A;
use Resource as R;

const fn route(resource: R, template: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route { resource, template, endpoints }
}

/// A method that is not a line of the audit log unless it is refused.
const fn quiet(method: &'static str, operation: &'static str, rule: Rule) -> Endpoint {
    Endpoint { method, rule, operation, is_audited: false }
}

/// A method whose calls are lines of the audit log.
const fn audited(method: &'static str, operation: &'static str, rule: Rule) -> Endpoint {
    Endpoint { method, rule, operation, is_audited: true }
}

const GET_LOG: Endpoint = quiet("GET", "get_log", Rule::See);
const DELETE_LOG: Endpoint = audited("DELETE", "delete_log", Rule::OnLog(A::Manage));

const LOGS: Route = route(
    R::Logs,
    "/logs",
    &[
        quiet("GET", "list_logs", Rule::AnyToken),
        audited("POST", "create_log", Rule::OnNamedLog(A::Manage)),
    ],
);
/// `GET` and `DELETE` are for a log named `restore`: [`Route::find`] routes them to [`LOG`].
const RESTORE: Route = route(
    R::Restore,
    "/logs/restore",
    &[GET_LOG, DELETE_LOG, audited("POST", "restore_log", Rule::OnNamedLog(A::Manage))],
);
const LOG: Route = route(R::Log, "/logs/{name}", &[GET_LOG, DELETE_LOG]);
const ADOPT: Route =
    route(R::Adopt, "/logs/{name}/adopt", &[audited("POST", "adopt_log", Rule::OnLog(A::Manage))]);
const TRUNCATE: Route = route(
    R::Truncate,
    "/logs/{name}/truncate",
    &[audited("POST", "truncate_log", Rule::OnLog(A::Manage))],
);
const TRIM: Route =
    route(R::Trim, "/logs/{name}/trim", &[audited("POST", "trim_log", Rule::OnLog(A::Manage))]);
const BACKUP: Route = route(
    R::Backup,
    "/logs/{name}/backup",
    &[audited("GET", "backup_log", Rule::OnLog(A::Manage))],
);
const CURSORS: Route =
    route(R::Cursors, "/logs/{name}/cursors", &[quiet("GET", "list_cursors", Rule::See)]);
const CURSOR: Route = route(
    R::Cursor,
    "/logs/{name}/cursors/{cursor}",
    &[
        quiet("GET", "get_cursor", Rule::See),
        // A consumer that commits does this often.
        quiet("PUT", "set_cursor", Rule::ChangeCursor),
        audited("DELETE", "delete_cursor", Rule::ChangeCursor),
    ],
);
const RECORDS: Route = route(
    R::Records,
    "/logs/{name}/records",
    &[quiet("GET", "read", Rule::Stream), quiet("POST", "append", Rule::OnLog(A::Append))],
);
const METRICS: Route = route(
    R::Metrics,
    "/metrics",
    &[
        quiet("GET", "metrics", Rule::Somewhere(A::Observe)),
        quiet("HEAD", "metrics", Rule::Somewhere(A::Observe)),
    ],
);
const STATUS: Route =
    route(R::Status, "/status", &[quiet("GET", "status", Rule::Somewhere(A::Observe))]);
const LIVE: Route = route(
    R::Live,
    "/health/live",
    &[quiet("GET", "health", Rule::Public), quiet("HEAD", "health", Rule::Public)],
);
const READY: Route = route(
    R::Ready,
    "/health/ready",
    &[quiet("GET", "health", Rule::Public), quiet("HEAD", "health", Rule::Public)],
);
const VERSION: Route = route(
    R::Version,
    "/version",
    &[quiet("GET", "version", Rule::Public), quiet("HEAD", "version", Rule::Public)],
);
const OPENAPI: Route = route(
    R::OpenApi,
    "/openapi.json",
    &[quiet("GET", "openapi", Rule::AnyToken), quiet("HEAD", "openapi", Rule::AnyToken)],
);

impl Route {
    /// Every row.
    #[cfg(test)]
    pub(crate) const ALL: [Route; 16] = [
        LOGS, RESTORE, LOG, ADOPT, TRUNCATE, TRIM, BACKUP, CURSORS, CURSOR, RECORDS, METRICS,
        STATUS, LIVE, READY, VERSION, OPENAPI,
    ];

    /// The route of a path, and the log's name as the path spells it. The method matters
    /// only for `/logs/restore`, which is also the path of a log with that name.
    pub(crate) fn find<'p>(path: &'p str, method: &Method) -> Option<(Route, &'p str)> {
        if let Some(rest) = path.strip_prefix("/logs/") {
            return match rest.split_once('/') {
                None if rest.is_empty() => None,
                None if rest == "restore" && !LOG.allows(method) => Some((RESTORE, "")),
                None => Some((LOG, rest)),
                Some((name, "records")) => Some((RECORDS, name)),
                Some((name, "adopt")) => Some((ADOPT, name)),
                Some((name, "truncate")) => Some((TRUNCATE, name)),
                Some((name, "trim")) => Some((TRIM, name)),
                Some((name, "backup")) => Some((BACKUP, name)),
                Some((name, "cursors")) => Some((CURSORS, name)),
                Some((name, rest)) => match rest.strip_prefix("cursors/") {
                    Some(cursor) if !cursor.is_empty() && !cursor.contains('/') => {
                        Some((CURSOR, name))
                    }
                    _ => None,
                },
            };
        }
        let route = match path {
            "/logs" => LOGS,
            "/metrics" => METRICS,
            "/status" => STATUS,
            "/health/live" => LIVE,
            "/health/ready" => READY,
            "/version" => VERSION,
            "/openapi.json" => OPENAPI,
            _ => return None,
        };
        Some((route, ""))
    }

    /// The value of `Allow`.
    pub(crate) fn allowed(self) -> String {
        let methods: Vec<&str> = self.endpoints.iter().map(|endpoint| endpoint.method).collect();
        methods.join(", ")
    }

    pub(crate) fn allows(self, method: &Method) -> bool {
        self.endpoint(method).is_some()
    }

    /// What the method does; `None` if the path does not allow it.
    pub(crate) fn endpoint(self, method: &Method) -> Option<&'static Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.method == method.as_str())
    }

    #[cfg(test)]
    pub(crate) fn methods(self) -> impl Iterator<Item = Method> {
        self.endpoints.iter().map(|endpoint| endpoint.method.parse().expect("a method"))
    }

    /// Whether the path is part of the API for logs, which browsers of other
    /// origins may use.
    pub(crate) fn is_about_logs(self) -> bool {
        self.template.starts_with("/logs")
    }
}

/// The name of the cursor in a path of [`Resource::Cursor`].
pub(crate) fn cursor_name(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(_, name)| name)
}

/// The path with percent-encoded unreserved characters decoded and repeated slashes
/// merged. Both spellings name the same resource (RFC 9110, section 4.2.3).
///
/// It decodes once and nothing else: an encoded slash separates nothing, and an invalid
/// escape stays in the path, where no route and no name of a log has it.
pub(crate) fn normalized(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut normalized = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        let decoded = unreserved(rest);
        rest = rest.get(decoded.map_or(c.len_utf8(), |_| ESCAPE_BYTES)..).unwrap_or_default();
        let c = decoded.unwrap_or(c);
        if c != '/' || !normalized.ends_with('/') {
            normalized.push(c);
        }
    }
    Cow::Owned(normalized)
}

/// The length of a percent-encoded byte.
const ESCAPE_BYTES: usize = "%2D".len();

/// The unreserved character (RFC 3986, section 2.3) that the text begins with in its
/// percent-encoded form.
fn unreserved(text: &str) -> Option<char> {
    let digits = text.strip_prefix('%')?.get(..ESCAPE_BYTES - 1)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = is_hex.then(|| u8::from_str_radix(digits, 16).ok())??;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_a_template_finds_its_row() {
        for row in Route::ALL {
            let path = row.template.replace("{name}", "a-log");
            for method in row.methods() {
                let (found, name) = Route::find(&path, &method).expect("a route");
                if found.template != row.template {
                    assert_eq!(Some(name), path.strip_prefix("/logs/"), "{method} {path}");
                    continue;
                }
                assert_eq!(found, row);
                assert_eq!(name, if row.template.contains('{') { "a-log" } else { "" });
            }
        }
    }

    #[test]
    fn literal_path_allows_the_methods_of_a_log_with_its_name() {
        for literal in Route::ALL.iter().filter(|row| !row.template.contains('{')) {
            for named in Route::ALL.iter().filter(|row| row.template.contains('{')) {
                if !is_instance(literal.template, named.template) {
                    continue;
                }
                for method in named.methods() {
                    assert!(literal.allows(&method), "{method} {}", literal.template);
                    let (found, _) = Route::find(literal.template, &method).expect("a route");
                    assert_eq!(found.resource, named.resource, "{method} {}", literal.template);
                }
                for method in ["OPTIONS", "PUT", "HEAD", "BREW"] {
                    let method: Method = method.parse().expect("a method");
                    let (found, _) = Route::find(literal.template, &method).expect("a route");
                    assert_eq!(found.allowed(), literal.allowed(), "{method} {}", literal.template);
                }
            }
        }
    }

    /// Whether `path` is an instance of the template.
    fn is_instance(path: &str, template: &str) -> bool {
        let (path, template) = (path.split('/'), template.split('/'));
        path.clone().count() == template.clone().count()
            && path.zip(template).all(|(part, expected)| {
                part == expected || ["{name}", "{cursor}"].contains(&expected)
            })
    }

    #[test]
    fn restore_is_a_log_name_for_every_method_except_post() {
        let find = |method| Route::find("/logs/restore", &method).map(|(r, n)| (r.resource, n));
        assert_eq!(find(Method::POST), Some((Resource::Restore, "")));
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(find(method), Some((Resource::Log, "restore")));
        }
        let (asked, _) = Route::find("/logs/restore", &Method::OPTIONS).expect("a route");
        assert_eq!(asked.allowed(), "GET, DELETE, POST");
    }

    #[test]
    fn unknown_paths_have_no_route() {
        for path in [
            "",
            "/",
            "/x",
            "/logs/",
            "/logs/a/",
            "/logs/a/b",
            "/logs/a/records/",
            "logs",
            "/logs/a/cursors/",
            "/logs/a/cursors/b/c",
        ] {
            assert_eq!(Route::find(path, &Method::GET), None, "{path}");
        }
    }

    #[test]
    fn slashes_are_merged() {
        assert_eq!(normalized("//logs///a//records"), "/logs/a/records");
        assert!(matches!(normalized("/logs/a"), Cow::Borrowed(_)));
    }

    #[test]
    fn only_unreserved_characters_are_decoded_and_only_once() {
        for (path, expected) in [
            ("/logs/my%2Dlog%5f1/records", "/logs/my-log_1/records"),
            ("/%6Cogs/%61%7E%2e", "/logs/a~."),
            ("//logs%2F%2fa", "/logs%2F%2fa"),
            ("/logs/a%252Db", "/logs/a%252Db"),
            ("/logs/a%00%20%ff%C3%A4", "/logs/a%00%20%ff%C3%A4"),
            ("/logs/%zz%2%", "/logs/%zz%2%"),
            ("/logs/%+1%-1", "/logs/%+1%-1"),
            ("/logs/%\u{e4}-", "/logs/%\u{e4}-"),
        ] {
            assert_eq!(normalized(path), expected, "{path}");
        }
    }
}
