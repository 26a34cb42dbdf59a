//! Decides whether a request may be served, from the rule of its route, and writes the audit
//! log.
//!
//! The decision comes before the log is opened and before the 101, so a caller without a grant
//! does not learn whether a log exists.

use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderValue, Method};
use styx_protocol::{LogName, ReadType};

use super::route::{Endpoint, Resource, Route};
use super::trace::Trace;
use super::{Call, Http, request_id, upgrade};
use crate::auth::{self, Access, Action, CredentialCache, HeldLease, Lease, Place, Rule};
use crate::session::{Error, FollowedBy};
use crate::transport::PeerAddress;
use crate::{audit, header};

/// Why a request is not served.
pub(super) struct Denial {
    pub(super) access: Access,
    pub(super) endpoint: &'static Endpoint,
    pub(super) error: Error,
}

impl Http {
    /// Whose request it is. The request's token is removed from its head. A method that the
    /// path does not allow needs no access: its answer is the same for everybody.
    pub(super) fn authorize(
        &self,
        route: Route,
        head: &mut Parts,
        log: &str,
        cursor: &str,
    ) -> Result<Access, Denial> {
        let presented = auth::take_credentials(head, |head| self.place(route, head));
        let Some(endpoint) = route.endpoint(&head.method) else { return Ok(Access::Anonymous) };
        let connection = head.extensions.get::<CredentialCache>();
        let is_public = endpoint.rule == Rule::Public;
        let denied = |access, error| Denial { access, endpoint, error };
        let access = self
            .app
            .auth
            .identify(presented, connection, is_public)
            .map_err(|error| denied(Access::Anonymous, error))?;
        if matches!(access, Access::Off) {
            return Ok(access);
        }
        // A request whose direction cannot be parsed is refused before it reads anything.
        let writes = endpoint.rule == Rule::Stream
            && upgrade::writes(head, &self.front_ends).unwrap_or(false);
        match access.check(endpoint.rule, log, writes, cursor) {
            Ok(()) => Ok(access),
            Err(error) => Err(denied(access, error)),
        }
    }

    /// Where the request may have a token besides its header.
    fn place(&self, route: Route, head: &Parts) -> Place {
        if route.resource != Resource::Records {
            return Place::HeaderOnly;
        }
        let protocols = upgrade::wanted(&head.headers, &self.front_ends);
        let front_end =
            protocols.and_then(|protocols| upgrade::spoken(&protocols, &self.front_ends));
        let is_events = || {
            let accepted = ReadType::parse(header::text(&head.headers, &ACCEPT));
            head.method == Method::GET && accepted == Ok(ReadType::EventStream)
        };
        match front_end {
            Some(front_end) if front_end.is_for_browsers() => Place::WebSocket,
            None if is_events() => Place::EventSource,
            _ => Place::HeaderOnly,
        }
    }
}

impl Call<'_> {
    /// Sets the name of the log that the request creates, and checks the grant for it.
    ///
    /// # Errors
    /// `forbidden`.
    pub(super) fn new_log(&mut self, name: &LogName) -> Result<(), Error> {
        self.name = name.as_str().into();
        self.access.check_named(Action::Manage, &self.name)
    }

    /// Who follows, for the list of followers.
    pub(super) fn follower(&self, protocol: &'static str) -> FollowedBy {
        FollowedBy { protocol, principal: self.access.name().into(), peer: peer(self.head) }
    }

    /// The right to continue a long request or a stream that does this with the log.
    pub(super) fn lease(&self, action: Action) -> Lease {
        Lease::new(&self.app.auth, &self.access, Rule::OnLog(action), &self.name, peer(self.head))
    }

    /// The same for an answer, whose peer may not read it. Then its HTTP/1.1 connection or its
    /// HTTP/2 stream is ended.
    pub(super) fn answer_lease(&self, action: Action) -> Lease {
        let lease = self.lease(action);
        if let Some(held) = self.head.extensions.get::<HeldLease>() {
            held.hold(lease.clone());
        }
        lease
    }

    /// Writes a line to the audit log if the request is worth one.
    pub(super) fn audit(&self, route: Route, result: Result<(), &Error>) {
        let Some(endpoint) = route.endpoint(&self.head.method) else { return };
        let protocol = self.opened_stream.unwrap_or_default();
        let is_of_another = endpoint.rule == Rule::ChangeCursor
            && matches!(&self.access, Access::Principal(_))
            && !auth::owns_cursor(self.access.name(), &self.cursor);
        let is_denied = result.is_err_and(|error| matches!(error.code.http_status(), 401 | 403));
        if endpoint.is_audited || is_of_another || is_denied || !protocol.is_empty() {
            audit(endpoint, self.head, self.access.name(), &self.name, protocol, result);
        }
    }
}

pub(super) fn peer(head: &Parts) -> Option<PeerAddress> {
    head.extensions.get::<CredentialCache>().map(CredentialCache::peer)
}

/// Writes a line to the audit log.
pub(super) fn audit(
    endpoint: &Endpoint,
    head: &Parts,
    principal: &str,
    log: &Arc<str>,
    protocol: &str,
    result: Result<(), &Error>,
) {
    let request_id = request_id::given(&head.headers).map(HeaderValue::to_str);
    let Trace { trace_id, parent_id } = Trace::of(&head.headers);
    let event = audit::Event {
        principal,
        operation: endpoint.operation,
        log,
        peer: peer(head),
        result: result.err().map_or("ok", |error| error.code.as_str()),
        protocol,
        request_id: request_id.and_then(Result::ok).unwrap_or_default(),
        trace_id,
        parent_id,
    };
    event.record();
}

#[cfg(test)]
mod tests {
    use styx_protocol::Code;

    use super::*;
    use crate::auth::Principal;

    /// The actions of which one is enough, on the log `a`; `None` if no token is needed.
    /// `writes` is about an upgrade.
    fn sufficient(operation: &str, writes: bool) -> Option<&'static [&'static str]> {
        Some(match operation {
            "health" | "version" => return None,
            "read" if !writes => &["read", "admin"],
            "read" | "append" => &["append", "admin"],
            "list_logs" | "openapi" | "get_log" | "list_cursors" | "get_cursor" => {
                &["read", "append", "manage", "observe", "admin"]
            }
            "metrics" | "status" => &["observe", "admin"],
            "create_log" | "restore_log" | "delete_log" | "truncate_log" | "trim_log"
            | "adopt_log" | "backup_log" => &["manage", "admin"],
            // The cursor does not have the principal's name.
            "set_cursor" | "delete_cursor" => &["manage", "admin"],
            other => panic!("say here what {other} needs"),
        })
    }

    #[test]
    fn every_row_of_the_route_table_allows_exactly_what_its_operation_needs() {
        let mut checked = 0;
        for route in Route::ALL {
            for method in route.methods() {
                let endpoint = route.endpoint(&method).expect("it is one of the route's");
                for writes in [false, true] {
                    let needed = sufficient(endpoint.operation, writes);
                    let check =
                        |access: &Access| access.check(endpoint.rule, "a", writes, "cursor");
                    assert!(check(&Access::Off).is_ok());
                    let nobody = check(&Access::Anonymous).err().map(|error| error.code);
                    assert_eq!(nobody, needed.map(|_| Code::Unauthorized), "{endpoint:?}");
                    for action in Action::ALL {
                        for (log, covers) in [("a", true), ("*", true), ("b", false)] {
                            let grant = format!("{action}:{log}");
                            let principal = Principal::with_grants("p", &[&grant]);
                            let is_enough = needed.is_none_or(|all| all.contains(&action.as_str()));
                            // These do not name the log in their path.
                            let covers = covers
                                || needed.is_none()
                                || matches!(
                                    endpoint.rule,
                                    Rule::AnyToken | Rule::Somewhere(_) | Rule::OnNamedLog(_)
                                );
                            let denied = check(&Access::Principal(principal)).err();
                            let denied = denied.map(|error| error.code);
                            let expected = (!(is_enough && covers)).then_some(Code::Forbidden);
                            assert_eq!(denied, expected, "{grant} {writes} {endpoint:?}");
                            checked += 1;
                        }
                    }
                }
            }
        }
        assert!(checked > 500, "{checked}");
    }
}
