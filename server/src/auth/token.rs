//! [`Secret`]: what the holder of a token sends, and [`SecretHash`]: what the server stores.
//!
//! ```text
//! styx_ | 48 characters of base64url: 256 random bits, then their CRC-32
//! ```
//!
//! The prefix lets scanners find secrets that were published by mistake. The checksum tells
//! a mistyped secret from one that was revoked. Only the SHA-256 of the whole text is stored.
//! With 256 random bits it cannot be reversed, so it needs neither salt nor a slow hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

const PREFIX: &str = "styx_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// The length of every secret.
const TEXT_BYTES: usize = PREFIX.len() + (RANDOM_BYTES + CHECKSUM_BYTES) * 4 / 3;

/// The secret of a token. `Debug` does not show it.
pub struct Secret(String);

/// A text that is no secret: it is incomplete, mistyped, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a token of Styx, or a part of it is missing or mistyped")]
pub struct InvalidSecret;

impl Secret {
    /// A new secret with 256 bits from the system's random generator.
    ///
    /// # Errors
    /// The system has no random generator.
    pub fn generate() -> std::io::Result<Secret> {
        let mut bytes = [0; RANDOM_BYTES + CHECKSUM_BYTES];
        let (random, checksum) = bytes.split_at_mut(RANDOM_BYTES);
        getrandom::fill(random).map_err(std::io::Error::other)?;
        checksum.copy_from_slice(&crc32fast::hash(random).to_be_bytes());
        Ok(Secret(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text to give to the holder. It is shown once and stored nowhere.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The stored form.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Secret, InvalidSecret> {
        if text.len() != TEXT_BYTES {
            return Err(InvalidSecret);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidSecret)?;
        let (random, checksum) = bytes.split_at_checked(RANDOM_BYTES).ok_or(InvalidSecret)?;
        if checksum != crc32fast::hash(random).to_be_bytes() {
            return Err(InvalidSecret);
        }
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret's text. Comparisons take the same time for all values.
#[derive(Clone, Copy, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub(super) fn of(text: &[u8]) -> SecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text).as_ref());
        SecretHash(hash)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &SecretHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for SecretHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two hashes apart.
        let [a, b, ..] = self.0;
        write!(f, "SecretHash({a:02x}{b:02x}…)")
    }
}

impl FromStr for SecretHash {
    type Err = ();

    fn from_str(text: &str) -> Result<SecretHash, ()> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        for (index, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ())?;
        }
        Ok(SecretHash(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_secrets_differ_and_parse() {
        let (one, other) =
            (Secret::generate().expect("random"), Secret::generate().expect("random"));
        assert_ne!(one.text(), other.text());
        assert_eq!(one.text().len(), TEXT_BYTES);
        let parsed: Secret = one.text().parse().expect("it is one");
        assert!(parsed.hash() == one.hash() && one.hash() != other.hash());
        assert!(one.text().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let secret = Secret::generate().expect("random");
        let text = secret.text();
        for at in 0..text.len() {
            for other in ['A', 'b', '7', '_', '-', '.'] {
                let mut wrong: Vec<char> = text.chars().collect();
                if std::mem::replace(&mut wrong[at], other) == other {
                    continue;
                }
                let wrong: String = wrong.into_iter().collect();
                assert_eq!(wrong.parse::<Secret>().err(), Some(InvalidSecret), "{wrong}");
            }
            assert!(text[..at].parse::<Secret>().is_err());
        }
        for text in ["", "styx_", "styx_é", &format!("{text}A"), &text.replace("styx_", "STYX_")] {
            assert!(text.parse::<Secret>().is_err(), "{text}");
        }
    }

    /// The hash in the file is what `sha256sum` prints for the secret.
    #[test]
    fn stored_hash_is_the_sha_256_of_the_text() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = SecretHash::of(b"abc");
        assert_eq!(hash.to_string(), expected);
        assert_eq!(expected.parse(), Ok(hash));
        for text in ["", "ba", &expected.replace('b', "g"), &format!("{expected}0")] {
            assert!(text.parse::<SecretHash>().is_err(), "{text}");
        }
    }
}
