//! The claims of a token whose signature, issuer and audience are right.
//!
//! Times are numbers of seconds since 1970, whole or not. A token with one wrong claim is
//! refused as a whole, because a token without one of its grants is a different token.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::super::grants::{Grant, Grants};
use super::{KeyId, SignedToken};
use crate::config::Jwt;

pub(super) type Claims = Map<String, Value>;

/// Longest `sub` and `jti`.
const NAME_BYTES_MAX: usize = 255;

/// Checks the claims at this time.
pub(super) fn check(
    rules: &Jwt,
    claims: Claims,
    key: KeyId,
    now: Timestamp,
) -> Result<SignedToken, String> {
    let invalid = |why: String| format!("the signed token is not valid: {why}");
    // RFC 7519 allows one issuer only.
    if !claims.get("iss").is_some_and(Value::is_string) {
        return Err(invalid("its claim iss is not a string".to_owned()));
    }
    let subject = name(&claims, "sub").map_err(invalid)?;
    let subject = subject.ok_or_else(|| invalid("it has no usable claim sub".to_owned()))?;
    let id = name(&claims, "jti").map_err(invalid)?;
    let expires = time(&claims, "exp").map_err(invalid)?;
    let expires = expires.ok_or_else(|| invalid("it has no usable claim exp".to_owned()))?;
    let leeway = SignedDuration::try_from(rules.leeway).unwrap_or(SignedDuration::ZERO);
    let valid_until = expires.saturating_add(leeway).unwrap_or(Timestamp::MAX);
    if now >= valid_until {
        return Err(expired(&subject, expires));
    }
    for claim in ["nbf", "iat"] {
        let begins = time(&claims, claim).map_err(invalid)?;
        if let Some(begins) = begins.filter(|time| time.duration_since(now) > leeway) {
            return Err(invalid(format!(
                "its claim {claim} is {begins}, which is in the future; compare the clocks of its \
                 issuer and of this server"
            )));
        }
    }
    let lifetime_max = SignedDuration::try_from(rules.max_lifetime).unwrap_or(SignedDuration::MAX);
    if !lifetime_max.is_zero() {
        let issued = time(&claims, "iat").map_err(invalid)?.map_or(now, |issued| issued.min(now));
        // A clock that is behind makes the rest of the lifetime look longer.
        if expires.duration_since(issued) > lifetime_max.saturating_add(leeway) {
            return Err(invalid(format!(
                "its claim exp is {expires}, and auth.jwt.max_lifetime is {} s; sign tokens with a \
                 shorter lifetime",
                lifetime_max.as_secs()
            )));
        }
    }
    let grants = grants(&claims, &rules.grants_claim).map_err(invalid)?;
    Ok(SignedToken { subject, grants, expires, valid_until, key, id })
}

/// The message about a token that has expired.
pub(super) fn expired(subject: &str, expires: Timestamp) -> String {
    format!("the signed token of {subject} expired at {expires}; get a new one from its issuer")
}

/// A claim with a name. It appears in messages and in the audit log, so
/// it has no spaces and no control characters.
fn name(claims: &Claims, claim: &str) -> Result<Option<Arc<str>>, String> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text))
            if (1..=NAME_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(format!(
            "its claim {claim} must be a string of 1 to {NAME_BYTES_MAX} ASCII characters without \
             spaces"
        )),
    }
}

fn time(claims: &Claims, claim: &str) -> Result<Option<Timestamp>, String> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = match value {
        Value::Number(number) => number
            .as_i64()
            // Beyond the range of times, a cast saturates, and is refused below.
            .or_else(|| number.as_f64().filter(|f| f.is_finite()).map(|f| f.floor() as i64)),
        _ => None,
    };
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or_else(|| {
        format!("its claim {claim} must be a time, as a number of seconds since 1970")
    })
}

/// The grants: a list of strings, or one string with spaces between them, as in a `scope`.
fn grants(claims: &Claims, claim: &str) -> Result<Grants, String> {
    let accepted =
        || format!("its claim {claim} must be a list of grants, as in [\"read:orders\"]");
    let parsed: Result<Vec<Grant>, String> = match claims.get(claim) {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => of_text(text, claim),
                _ => Err(accepted()),
            })
            .collect(),
        Some(Value::String(text)) => {
            text.split_ascii_whitespace().map(|text| of_text(text, claim)).collect()
        }
        Some(_) => Err(accepted()),
        None => Err(format!("it has no claim {claim}; {}", accepted())),
    };
    parsed.map(Grants::new)
}

fn of_text(text: &str, claim: &str) -> Result<Grant, String> {
    let grant: Result<Grant, super::super::InvalidGrant> = text.parse();
    grant.map_err(|error| format!("its claim {claim} is wrong: {error}"))
}
