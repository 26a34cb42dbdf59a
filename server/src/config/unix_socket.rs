//! [`UnixSocketMode`] and [`UnixSocketOwner`]: who may connect to the server's Unix sockets.

use std::fmt;
use std::str::FromStr;

/// The permissions of a Unix socket, such as 0660. A client needs the write permission to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixSocketMode(u16);

impl UnixSocketMode {
    /// The permission bits.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }
}

impl Default for UnixSocketMode {
    fn default() -> UnixSocketMode {
        UnixSocketMode(0o660)
    }
}

impl FromStr for UnixSocketMode {
    type Err = String;

    fn from_str(text: &str) -> Result<UnixSocketMode, String> {
        let is_octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u16::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
        mode.map(UnixSocketMode).ok_or_else(|| {
            "use an octal number from \"0000\" to \"0777\", as in \"0660\"".to_owned()
        })
    }
}

impl fmt::Display for UnixSocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The owner of a Unix socket: a user, a group, both or neither, by name or by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnixSocketOwner {
    /// `None` for the user that runs the server.
    pub user: Option<String>,
    /// `None` for the group that runs the server.
    pub group: Option<String>,
}

impl FromStr for UnixSocketOwner {
    type Err = String;

    fn from_str(text: &str) -> Result<UnixSocketOwner, String> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let is_name =
            |name: &str| !name.contains(|c: char| c.is_whitespace() || c == ':' || c == '\0');
        if !is_name(user) || !is_name(group) {
            return Err("use USER, USER:GROUP or :GROUP, by name or by number".to_owned());
        }
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Ok(UnixSocketOwner { user: given(user), group: given(group) })
    }
}

impl fmt::Display for UnixSocketOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.as_deref().unwrap_or_default())?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_is_an_octal_number_of_permissions() {
        for (text, bits, shown) in
            [("0660", 0o660, "0660"), ("600", 0o600, "0600"), ("0", 0, "0000")]
        {
            let mode: UnixSocketMode = text.parse().expect(text);
            assert_eq!((mode.bits(), mode.to_string().as_str()), (bits, shown));
        }
        for text in ["", "0x1", "8", "1777", "+660", "rw", "0o660"] {
            assert!(text.parse::<UnixSocketMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn owner_is_a_user_a_group_or_both() {
        for text in ["", "styx", "styx:web", ":web", "1000:1000"] {
            let owner: UnixSocketOwner = text.parse().expect(text);
            assert_eq!(owner.to_string(), text);
        }
        assert_eq!("styx:".parse(), "styx".parse::<UnixSocketOwner>());
        for text in ["a:b:c", "a b", "a: b"] {
            assert!(text.parse::<UnixSocketOwner>().is_err(), "{text}");
        }
    }
}
