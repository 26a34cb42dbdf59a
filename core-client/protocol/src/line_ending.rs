//! [`LineEnding`]: the bytes that end a line, and their names in media types and on the
//! command line.

use std::fmt;
use std::str::FromStr;

/// The bytes that end a line. The default is [`LineEnding::Lf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LineEnding {
    /// `\n`
    #[default]
    Lf,
    /// `\r`
    Cr,
    /// `\r\n`
    CrLf,
}

/// The text is not the name of a line ending. Has the text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line-ending is {0:?}: use lf, cr or crlf")]
pub struct UnknownLineEnding(pub String);

impl LineEnding {
    /// All line endings.
    pub const ALL: [LineEnding; 3] = [LineEnding::Lf, LineEnding::Cr, LineEnding::CrLf];

    /// The bytes of the line ending.
    #[must_use]
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            LineEnding::Lf => b"\n",
            LineEnding::Cr => b"\r",
            LineEnding::CrLf => b"\r\n",
        }
    }

    /// The name in media types: `lf`, `cr` or `crlf`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LineEnding::Lf => "lf",
            LineEnding::Cr => "cr",
            LineEnding::CrLf => "crlf",
        }
    }
}

impl FromStr for LineEnding {
    type Err = UnknownLineEnding;

    /// Accepts exactly `lf`, `cr` and `crlf`.
    fn from_str(text: &str) -> Result<Self, UnknownLineEnding> {
        LineEnding::ALL
            .into_iter()
            .find(|ending| ending.as_str() == text)
            .ok_or_else(|| UnknownLineEnding(text.chars().take(40).collect()))
    }
}

impl fmt::Display for LineEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
