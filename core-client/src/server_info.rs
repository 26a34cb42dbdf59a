//! [`ServerInfo`]: a server's version, features and limits, from its response to `GET /version`.

use serde_json::Value;
use styx_protocol::handshake::Protocol;

/// A server's version, features and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The server's version, such as `1.0.0`.
    pub version: String,
    /// The server's protocols, codecs and optional features, such as `styx/1` and `zstd`.
    pub features: Vec<String>,
    /// The largest `max_record_size` with which the server creates a log.
    pub max_record_size: Option<u64>,
    /// The most bytes of records in one block, which is the limit of an atomic append.
    pub max_block_size: Option<u64>,
}

impl ServerInfo {
    /// Whether the server has this feature.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    /// Reads the server's response.
    ///
    /// # Errors
    /// Why the peer cannot be used, to be continued from its address.
    pub(crate) fn read(body: &[u8]) -> Result<ServerInfo, String> {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let version = json["version"].as_str().ok_or("is not a Styx server")?.to_owned();
        let Some(features) = json["features"].as_array() else {
            return Err(format!(
                "is not a Styx server, or its version {version} is too old: use a server of \
                 version 1.0 or later"
            ));
        };
        let features = features.iter().filter_map(|word| word.as_str().map(str::to_owned));
        let info = ServerInfo {
            version,
            features: features.collect(),
            max_record_size: json["limits"]["max_record_size"].as_u64(),
            max_block_size: json["limits"]["max_block_size"].as_u64(),
        };
        if info.has_feature(Protocol::Styx1.token()) {
            return Ok(info);
        }
        let ServerInfo { version, .. } = info;
        Err(match major(&version) {
            Some(0) => format!("has version {version}, which is too old: use version 1.0 or later"),
            _ => format!(
                "has version {version}, which does not offer {}: use another version of this \
                 client",
                Protocol::Styx1.token()
            ),
        })
    }
}

fn major(version: &str) -> Option<u64> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_read_whatever_else_it_has() {
        let body = br#"{"version": "1.2.3", "features": ["styx/1", "zstd", "new"], "new": {},
                        "limits": {"max_record_size": 1024, "max_block_size": 512}}"#;
        let info = ServerInfo::read(body).expect("a server");
        assert_eq!((info.version.as_str(), info.max_record_size), ("1.2.3", Some(1024)));
        assert_eq!(info.max_block_size, Some(512));
        assert!(info.has_feature("new") && !info.has_feature("lz4"));
        let info = ServerInfo::read(br#"{"version": "1.2.3", "features": ["styx/1"]}"#);
        assert_eq!(info.expect("limits may be missing").max_record_size, None);
    }

    #[test]
    fn response_of_another_version_says_which() {
        for (body, part) in [
            (r#"{"version": "0.9", "features": []}"#, "version 0.9, which is too old"),
            (r#"{"version": "3.0", "features": ["styx/2"]}"#, "another version of this client"),
            (r#"{"version": "8.1.0"}"#, "is not a Styx server, or its version 8.1.0 is too old"),
            ("<html>", "is not a Styx server"),
            ("[1]", "is not a Styx server"),
        ] {
            let why = ServerInfo::read(body.as_bytes()).expect_err(body);
            assert!(why.contains(part), "{why}");
        }
    }
}
