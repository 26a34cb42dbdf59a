//! The token file as a function of arbitrary bytes: what parses prints as a file that parses
//! as the same.

use jiff::Timestamp;

use super::TokenFile;

/// See the module.
pub(crate) fn token_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(file) = text.parse::<TokenFile>() else { return };
    let printed = file.to_string();
    let again: TokenFile = match printed.parse() {
        Ok(again) => again,
        Err(error) => panic!("a printed file does not parse: {error}\n{printed}"),
    };
    assert_eq!(again, file, "{printed}");
    for token in &file.tokens {
        assert!(file.token(&token.name) == Some(token));
        assert!(!token.is_expired(Timestamp::MIN));
    }
}
