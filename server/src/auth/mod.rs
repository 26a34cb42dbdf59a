//! Access control: who may do what.
//!
//! ```text
//! request → Rule of its route → credentials → Store → Access ─▶ handler, front end
//!                                    │                  └ Lease ─▶ ends open streams
//! tokens.toml, keys of signed tokens ─┘ every second
//! ```
//!
//! It is off until there is a token file or a key of `[auth]`, and from then on closed:
//! everything that no grant allows is refused. Invariants: access control is never switched
//! off while the process runs, and no secret leaves this module.

mod access;
mod credentials;
mod grants;
mod held_lease;
mod jwt;
mod store;
mod throttle;
mod token;
mod token_file;

pub use grants::{Action, Grant, InvalidGrant, LogPattern};
pub use jwt::{JwtFileError, SigningKey, SigningKeyError};
pub use token::{InvalidSecret, Secret, SecretHash};
pub use token_file::{Credential, StoredSecret, Token, TokenFile, TokenFileError};

pub(crate) use access::{Access, Lease, owns_cursor};
pub(crate) use credentials::{CredentialCache, Place, take as take_credentials};
pub(crate) use grants::Rule;
pub(crate) use held_lease::HeldLease;
#[cfg(test)]
pub(crate) use store::Principal;
pub(crate) use store::Store;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use jwt::fuzzing::jwt as fuzz_jwt;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use token_file::fuzzing::token_file as fuzz_token_file;
