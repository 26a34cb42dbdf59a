//! [`Access`]: whose request it is and what it may do. [`Lease`]: the same for the time of a
//! long request or a stream.

use std::sync::Arc;

use styx_protocol::Code;

use super::grants::{Action, Rule};
use super::store::{Principal, Store};
use crate::session::Error;
use crate::transport::PeerAddress;

/// Whose request it is.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Access control is off: everybody may do everything.
    Off,
    /// No token was given.
    Anonymous,
    Principal(Arc<Principal>),
}

impl Access {
    /// The principal's name, for the audit log.
    pub(crate) fn name(&self) -> &str {
        match self {
            Access::Off | Access::Anonymous => "anonymous",
            Access::Principal(principal) => &principal.name,
        }
    }

    /// Whether the action is allowed on the log.
    pub(crate) fn allows(&self, action: Action, log: &str) -> bool {
        match self {
            Access::Off => true,
            Access::Anonymous => false,
            Access::Principal(principal) => principal.allows(action, log),
        }
    }

    /// Whether lists show the log.
    pub(crate) fn sees(&self, log: &str) -> bool {
        match self {
            Access::Off => true,
            Access::Anonymous => false,
            Access::Principal(principal) => principal.grants.sees(log),
        }
    }

    /// Checks a route's rule. `log` is the name in the path, and `writes` says whether the
    /// request upgrades to a stream that writes.
    ///
    /// # Errors
    /// `unauthorized` without a token, `forbidden` without the grant.
    pub(crate) fn check(
        &self,
        rule: Rule,
        log: &str,
        writes: bool,
        cursor: &str,
    ) -> Result<(), Error> {
        match (self, rule) {
            (Access::Off, _) | (_, Rule::Public) => Ok(()),
            (Access::Anonymous, _) => Err(no_token()),
            (Access::Principal(principal), rule) => {
                let missing = match rule {
                    Rule::Public | Rule::AnyToken => None,
                    Rule::Somewhere(action) | Rule::OnNamedLog(action) => {
                        (!principal.grants.allows_somewhere(action)).then(|| missing(action, "LOG"))
                    }
                    Rule::See => {
                        (!principal.grants.sees(log)).then(|| missing(Action::Observe, log))
                    }
                    Rule::OnLog(action) => principal.lacks(action, log),
                    Rule::Stream if writes => principal.lacks(Action::Append, log),
                    Rule::Stream => principal.lacks(Action::Read, log),
                    Rule::ChangeCursor => {
                        let is_own = owns_cursor(&principal.name, cursor);
                        if is_own && principal.allows(Action::Read, log) {
                            None
                        } else {
                            principal.lacks(Action::Manage, log)
                        }
                    }
                };
                missing.map_or(Ok(()), |grant| Err(forbidden(principal, &grant)))
            }
        }
    }

    /// Checks a grant on a log that the request names in its body or query.
    ///
    /// # Errors
    /// `forbidden`.
    pub(crate) fn check_named(&self, action: Action, log: &str) -> Result<(), Error> {
        self.check(Rule::OnLog(action), log, false, "")
    }
}

/// Whether a cursor belongs to the principal with this name: it has the same name, or one that
/// begins with it and a `-`.
pub(crate) fn owns_cursor(principal: &str, cursor: &str) -> bool {
    let rest = cursor.strip_prefix(principal);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl Principal {
    /// The missing grant.
    fn lacks(&self, action: Action, log: &str) -> Option<String> {
        (!self.allows(action, log)).then(|| missing(action, log))
    }
}

/// A grant as text. The name of a log in a path may be any text.
fn missing(action: Action, log: &str) -> String {
    let log: String = log.chars().take(255).collect();
    format!("{action}:{log}")
}

fn no_token() -> Error {
    let message = "this server requires a token: set the client's option token (on the command \
                   line, STYX_TOKEN or --token), or send the header Authorization: Bearer TOKEN";
    Error::new(Code::Unauthorized, message)
}

fn forbidden(principal: &Principal, grant: &str) -> Error {
    let (name, advice) = (&principal.name, principal.advice_about(grant));
    let message = format!("the token {name} has no grant {grant}; {advice}");
    Error::new(Code::Forbidden, message).with_text("grant", grant)
}

/// The right to continue a long request or a stream.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    store: Arc<Store>,
    access: Access,
    rule: Rule,
    log: Arc<str>,
    peer: Option<PeerAddress>,
}

impl Lease {
    /// A lease for what was just allowed. `rule` is of the log, such as [`Rule::OnLog`].
    pub(crate) fn new(
        store: &Arc<Store>,
        access: &Access,
        rule: Rule,
        log: &Arc<str>,
        peer: Option<PeerAddress>,
    ) -> Lease {
        let (store, access, log) = (store.clone(), access.clone(), log.clone());
        Lease { store, access, rule, log, peer }
    }

    /// Checks whether it is still valid. It costs little: call it for each part of an answer.
    ///
    /// # Errors
    /// `unauthorized` if the token was revoked or has expired, `forbidden` if it has lost the
    /// grant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.access {
            Access::Off if self.store.is_on() => {
                let message = "access control is on now, and this stream began without a token; \
                               connect again with one";
                Err(Error::new(Code::Unauthorized, message))
            }
            Access::Off | Access::Anonymous => Ok(()),
            Access::Principal(principal) => {
                let principal = self.store.renewed(principal)?;
                Access::Principal(principal).check(self.rule, &self.log, false, "")
            }
        }
    }

    /// Call it before the check that precedes a wait for a change.
    pub(super) fn note_expiry(&self) {
        if let Access::Principal(principal) = &self.access {
            self.store.note_expiry(principal);
        }
    }

    /// Resolves when it is no longer valid, with the error of [`check`](Self::check). Cancel
    /// safe; costs nothing while nothing changes.
    pub(crate) async fn ended(&self) -> Error {
        let mut generations = self.store.generations();
        loop {
            generations.borrow_and_update();
            self.note_expiry();
            if let Err(error) = self.check() {
                crate::audit::stream_ended(self.access.name(), &self.log, self.peer, &error);
                return error;
            }
            if generations.changed().await.is_err() {
                // The store lives as long as this lease.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_belongs_to_the_principal_whose_name_it_begins_with() {
        for own in ["billing", "billing-eu", "billing-"] {
            assert!(owns_cursor("billing", own), "{own}");
        }
        for other in ["", "bill", "billing2", "billing_eu", "Billing", "audit"] {
            assert!(!owns_cursor("billing", other), "{other}");
        }
    }

    #[test]
    fn refusal_names_the_missing_grant() {
        let access = Access::Principal(Principal::with_grants("ci", &["read:orders"]));
        let error = access.check(Rule::OnLog(Action::Append), "orders", false, "");
        let error = error.expect_err("no grant");
        assert_eq!(error.code, Code::Forbidden);
        assert!(error.message.contains("no grant append:orders"), "{error}");
        let error = Access::Anonymous.check(Rule::AnyToken, "", false, "").expect_err("no token");
        assert_eq!(error.code, Code::Unauthorized);
        assert!(error.message.contains("STYX_TOKEN"), "{error}");
    }

    #[test]
    fn cursor_of_others_needs_manage() {
        let reader = Access::Principal(Principal::with_grants("billing", &["read:orders"]));
        let change = |access: &Access, log, cursor| {
            access.check(Rule::ChangeCursor, log, false, cursor).map_err(|error| error.message)
        };
        assert_eq!(change(&reader, "orders", "billing-eu"), Ok(()));
        let error = change(&reader, "orders", "audit").expect_err("another's");
        assert!(error.contains("manage:orders"), "{error}");
        assert!(change(&reader, "users", "billing").is_err());
        let manager = Access::Principal(Principal::with_grants("ops", &["manage:orders"]));
        assert_eq!(change(&manager, "orders", "audit"), Ok(()));
    }
}
