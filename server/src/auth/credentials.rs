//! The token of a request, which is removed from its head.
//!
//! | place | for |
//! |---|---|
//! | `Authorization: Bearer TOKEN` | every request |
//! | `Sec-WebSocket-Protocol: styx, bearer.TOKEN` | a WebSocket of a browser |
//! | `?access_token=TOKEN` | a WebSocket or an `EventSource` of a browser |
//!
//! Browsers cannot set `Authorization` for the last two. Elsewhere a token in the query is
//! refused, because proxies write queries to their logs. Invariant: after [`take`], no part
//! of the head has a token, so no message, log line or copy of it can show one.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use subtle::ConstantTimeEq;

use super::store::Principal;
use crate::params;
use crate::transport::{ConnectionInfo, PeerAddress};

const ACCESS_TOKEN: &str = "access_token";
/// The start of the subprotocol that is a token.
const BEARER_PROTOCOL: &str = "bearer.";

/// Where a request may have its token besides `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere else.
    HeaderOnly,
    /// Also in the query.
    EventSource,
    /// Also in the query, and as a subprotocol.
    WebSocket,
}

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    Nothing,
    /// A token, which may be any text.
    Token(HeaderValue),
    /// A token in the query of a request that may not have it there.
    InQuery,
    /// An `Authorization` that is no bearer token, or several.
    Unusable,
}

/// Takes the token of a request out of its head.
/// `place` says where the request may have one.
pub(crate) fn take(head: &mut Parts, place: impl FnOnce(&Parts) -> Place) -> Presented {
    let in_header = take_header(&mut head.headers);
    let in_protocol = take_protocol(&mut head.headers);
    let in_query = take_query(&mut head.uri);
    if in_header != Presented::Nothing {
        return in_header;
    }
    if in_protocol.is_none() && in_query.is_none() {
        return Presented::Nothing;
    }
    let place = place(head);
    match (in_protocol.filter(|_| place == Place::WebSocket), in_query) {
        (Some(token), _) => token,
        (None, Some(_)) if place == Place::HeaderOnly => Presented::InQuery,
        (None, Some(token)) => token,
        (None, None) => Presented::Nothing,
    }
}

fn take_header(headers: &mut HeaderMap) -> Presented {
    if !headers.contains_key(AUTHORIZATION) {
        return Presented::Nothing;
    }
    let is_one = headers.get_all(AUTHORIZATION).iter().nth(1).is_none();
    let value = headers.remove(AUTHORIZATION).filter(|_| is_one);
    let token = value.as_ref().and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    });
    token.map_or(Presented::Unusable, of_bytes)
}

/// Removes the subprotocols that are tokens; the others stay.
fn take_protocol(headers: &mut HeaderMap) -> Option<Presented> {
    let name: HeaderName = SEC_WEBSOCKET_PROTOCOL;
    let has_token = |value: &HeaderValue| {
        value
            .as_bytes()
            .windows(BEARER_PROTOCOL.len())
            .any(|part| part == BEARER_PROTOCOL.as_bytes())
    };
    if !headers.get_all(&name).iter().any(has_token) {
        return None;
    }
    let mut token = None;
    let mut others = Vec::new();
    for value in headers.get_all(&name) {
        for protocol in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match protocol.strip_prefix(BEARER_PROTOCOL.as_bytes()) {
                Some(text) => token = Some(of_bytes(text)),
                None => others.push(protocol.to_vec()),
            }
        }
    }
    headers.remove(&name);
    let others = HeaderValue::from_bytes(&others.join(&b", "[..])).ok();
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        headers.insert(name, others);
    }
    token
}

/// Removes the parameters with tokens, whatever their letter case; the last one counts.
fn take_query(uri: &mut Uri) -> Option<Presented> {
    let query = uri.query()?;
    // An escape may hide a letter of the name.
    if !query.contains('%') && !query.to_ascii_lowercase().contains(ACCESS_TOKEN) {
        return None;
    }
    let is_token = |pair: &&str| {
        params::pairs(pair).next().is_some_and(|(name, _)| name.eq_ignore_ascii_case(ACCESS_TOKEN))
    };
    let token = params::value(query, ACCESS_TOKEN);
    let token = token.map(|token| of_bytes(token.as_bytes()));
    if !query.split('&').any(|pair| is_token(&pair)) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let path = uri.path();
    let shown =
        if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = std::mem::take(uri).into_parts();
    // A part of a valid query is valid.
    parts.path_and_query = shown.parse::<PathAndQuery>().ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    Some(token.unwrap_or(Presented::Unusable))
}

fn of_bytes(token: &[u8]) -> Presented {
    match HeaderValue::from_bytes(token) {
        Ok(mut value) if !token.is_empty() => {
            value.set_sensitive(true);
            Presented::Token(value)
        }
        _ => Presented::Unusable,
    }
}

/// The memory of a connection: its peer, and the principal of the last token, so that
/// the next request with the same token needs no hash.
#[derive(Debug, Clone)]
pub(crate) struct CredentialCache(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    info: Arc<ConnectionInfo>,
    last: Mutex<Option<Cached>>,
}

/// A token and its principal.
#[derive(Debug)]
struct Cached {
    token: HeaderValue,
    /// The state of the store in which that was so.
    generation: u64,
    principal: Arc<Principal>,
}

impl CredentialCache {
    /// The cache of a new connection.
    pub(crate) fn new(info: Arc<ConnectionInfo>) -> CredentialCache {
        CredentialCache(Arc::new(Connection { info, last: Mutex::default() }))
    }

    /// The address of the peer.
    pub(crate) fn peer(&self) -> PeerAddress {
        self.0.info.peer
    }

    /// The subject of the peer's certificate.
    pub(super) fn certificate(&self) -> Option<&str> {
        self.0.info.client_subject.as_deref()
    }

    /// The principal of this token, if the last request had it in the same generation.
    pub(super) fn get(&self, token: &HeaderValue, generation: u64) -> Option<Arc<Principal>> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref().filter(|last| last.generation == generation)?;
        // Requests of several clients may share the connection of a proxy.
        let is_same: bool = last.token.as_bytes().ct_eq(token.as_bytes()).into();
        is_same.then(|| last.principal.clone())
    }

    pub(super) fn put(&self, token: HeaderValue, generation: u64, principal: Arc<Principal>) {
        // hyper's values share the buffer of the whole head.
        let Ok(mut token) = HeaderValue::from_bytes(token.as_bytes()) else { return };
        token.set_sensitive(true);
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Cached { token, generation, principal });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credentials of a request, and the rest of its query and subprotocols.
    fn taken(uri: &str, headers: &[(HeaderName, &str)], place: Place) -> (Presented, String) {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut head = request.body(()).expect("a request").into_parts().0;
        let presented = take(&mut head, |_| place);
        let shown = format!("{head:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        let protocols = head.headers.get(SEC_WEBSOCKET_PROTOCOL);
        let protocols = protocols.map_or("", |value| value.to_str().expect("text"));
        (presented, format!("{} {protocols}", head.uri))
    }

    fn token(text: &str) -> Presented {
        of_bytes(text.as_bytes())
    }

    #[test]
    fn authorization_is_accepted_everywhere_and_wins() {
        for place in [Place::HeaderOnly, Place::EventSource, Place::WebSocket] {
            for value in ["Bearer s3cret", "bearer   s3cret ", "BEARER s3cret"] {
                let (presented, _) = taken("/logs", &[(AUTHORIZATION, value)], place);
                assert_eq!(presented, token("s3cret"), "{value}");
            }
            let headers = [
                (AUTHORIZATION, "Bearer s3cret"),
                (SEC_WEBSOCKET_PROTOCOL, "styx, bearer.s3cret2"),
            ];
            let (presented, rest) = taken("/logs?a=1&access_token=s3cret3", &headers, place);
            assert_eq!((presented, rest.as_str()), (token("s3cret"), "/logs?a=1 styx"));
        }
    }

    #[test]
    fn other_authorizations_are_unusable() {
        for value in ["Basic s3cret", "Bearer", "Bearer ", "s3cret", ""] {
            let (presented, _) = taken("/", &[(AUTHORIZATION, value)], Place::HeaderOnly);
            assert_eq!(presented, Presented::Unusable, "{value:?}");
        }
        let twice = [(AUTHORIZATION, "Bearer s3cret"), (AUTHORIZATION, "Bearer s3cret")];
        assert_eq!(taken("/", &twice, Place::HeaderOnly).0, Presented::Unusable);
    }

    #[test]
    fn query_is_accepted_for_browsers_only_and_always_removed() {
        for (uri, rest) in [
            ("/a?access_token=s3cret", "/a "),
            ("/a?x=%20&access_token=s3cret&y", "/a?x=%20&y "),
            ("/a?Access_Token=s3cret&position=3", "/a?position=3 "),
            ("/a?%61ccess%5Ftoken=s3cre%74&&b=", "/a?&b= "),
            ("/a?access_token=other&access_token=s3cret", "/a "),
        ] {
            for place in [Place::EventSource, Place::WebSocket] {
                assert_eq!(taken(uri, &[], place), (token("s3cret"), rest.to_owned()), "{uri}");
            }
            assert_eq!(taken(uri, &[], Place::HeaderOnly), (Presented::InQuery, rest.to_owned()));
        }
        let other = "/a?token=1&access_tokens=2&x=access_token ";
        assert_eq!(taken(other.trim(), &[], Place::WebSocket).0, Presented::Nothing);
        assert_eq!(taken(other.trim(), &[], Place::WebSocket).1, other);
        assert_eq!(taken("/a?access_token=", &[], Place::WebSocket).0, Presented::Unusable);
    }

    #[test]
    fn subprotocol_is_accepted_for_a_websocket_only_and_always_removed() {
        let offer = |value, place| taken("/a", &[(SEC_WEBSOCKET_PROTOCOL, value)], place);
        let (presented, rest) = offer("styx, bearer.s3cret", Place::WebSocket);
        assert_eq!((presented, rest.as_str()), (token("s3cret"), "/a styx"));
        let (presented, rest) = offer("bearer.s3cret", Place::WebSocket);
        assert_eq!((presented, rest.as_str()), (token("s3cret"), "/a "));
        let (presented, rest) = offer("x,bearer.s3cret,styx", Place::EventSource);
        assert_eq!((presented, rest.as_str()), (Presented::Nothing, "/a x, styx"));
        assert_eq!(offer("styx, graphql", Place::WebSocket).1, "/a styx, graphql");
    }
}
