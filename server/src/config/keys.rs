//! The table of configuration keys, the only place that defines them.

use std::path::{Path, PathBuf};

use toml::Value;

use super::archive;
use super::value::{self, BYTES, IGNORED_BYTES, SECONDS, SECONDS_FROM_1, ValueKind};
use super::{Auth, BindAddress, Config, Jwt, SigningAlgorithm, Statsd};

/// One key of the configuration.
pub(super) struct ConfigKey {
    /// Its name with its tables, for example `log_manager.data_directory`.
    pub(super) name: &'static str,
    /// A shorter second name for its environment variable, after `STYX_`.
    pub(super) alias: Option<&'static str>,
    pub(super) kind: ValueKind,
    /// A one-line description.
    pub(super) about: &'static str,
    /// Stores a value of the right kind in the configuration.
    pub(super) set: fn(&mut Config, &Value) -> Result<(), String>,
    /// The current value; `None` if there is none to print.
    pub(super) value: fn(&Config) -> Option<Value>,
}

impl ConfigKey {
    /// The environment variable of this key.
    pub(super) fn variable(&self) -> String {
        format!("STYX_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Whether an environment variable of this name sets this key.
    pub(super) fn is_set_by(&self, variable: &str) -> bool {
        let alias = self.alias.and_then(|alias| variable.strip_prefix("STYX_").map(|v| v == alias));
        alias == Some(true) || self.variable() == variable
    }
}

/// The key of that name, in any letter case.
pub(super) fn find(name: &str) -> Option<&'static ConfigKey> {
    KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name))
}

/// The known key that is most similar to `name`.
pub(super) fn nearest(name: &str) -> &'static str {
    let lower = name.to_ascii_lowercase();
    // A key in the wrong table is as similar as its last part.
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &&ConfigKey| {
        let whole = strsim::jaro_winkler(key.name, &lower);
        whole.max(strsim::jaro_winkler(&last(key.name), &last(&lower)))
    };
    let nearest = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.map_or("", |key| key.name)
}

/// At least one address, and each only once.
fn bind_addresses(texts: &[String]) -> Result<Vec<BindAddress>, String> {
    let mut addresses: Vec<BindAddress> = Vec::new();
    for text in texts {
        let address = text.parse().map_err(|accepted| match texts {
            [_] => accepted,
            _ => format!("for {text:?}, {accepted}"),
        })?;
        if addresses.contains(&address) {
            return Err(format!("it has {address} twice; use each address once"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() { Err("use at least one address".to_owned()) } else { Ok(addresses) }
}

macro_rules! size_key {
    ($name:literal, $kind:expr, $about:literal, $($field:ident).+) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: $kind,
            about: $about,
            set: |config, v| {
                config.$($field).+ = value::size(v);
                Ok(())
            },
            value: |config| Some(value::of_size(config.$($field).+)),
        }
    };
}

macro_rules! seconds_key {
    ($name:literal, $kind:expr, $about:literal, $($field:ident).+) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: $kind,
            about: $about,
            set: |config, v| {
                config.$($field).+ = value::seconds(v);
                Ok(())
            },
            value: |config| Some(value::of_seconds(config.$($field).+)),
        }
    };
}

macro_rules! tls_path_key {
    ($name:literal, $about:literal, $field:ident) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: ValueKind::Text,
            about: $about,
            set: |config, v| {
                let text = value::text(v);
                config.tls.$field = Some(text).filter(|t| !t.is_empty()).map(PathBuf::from);
                Ok(())
            },
            value: |config| {
                let path = config.tls.$field.as_ref().map(|path| path.display().to_string());
                Some(Value::String(path.unwrap_or_default()))
            },
        }
    };
}

macro_rules! archive_url_key {
    ($name:literal, $about:literal, $field:ident) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: ValueKind::Text,
            about: $about,
            set: |config, v| {
                let text = value::text(v);
                config.archive.$field = (!text.is_empty()).then(|| text.parse()).transpose()?;
                Ok(())
            },
            value: |config| {
                let url = config.archive.$field.as_ref().map(ToString::to_string);
                Some(Value::String(url.unwrap_or_default()))
            },
        }
    };
}

macro_rules! archive_path_key {
    ($name:literal, $about:literal, $field:ident) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: ValueKind::Text,
            about: $about,
            set: |config, v| {
                let text = value::text(v);
                config.archive.$field = Some(text).filter(|t| !t.is_empty()).map(PathBuf::from);
                Ok(())
            },
            value: |config| {
                Some(of_path(config.archive.$field.as_deref().unwrap_or(Path::new(""))))
            },
        }
    };
}

/// `[auth.jwt]`, which is on from now on.
fn jwt(config: &mut Config) -> &mut Jwt {
    config.auth.get_or_insert_with(Auth::default).jwt.get_or_insert_with(Jwt::default)
}

macro_rules! jwt_key {
    ($name:literal, $kind:expr, $about:literal, $field:ident, $of_value:expr, $to_value:expr) => {
        ConfigKey {
            name: $name,
            alias: None,
            kind: $kind,
            about: $about,
            set: |config, v| {
                jwt(config).$field = $of_value(v)?;
                Ok(())
            },
            value: |config| Some($to_value(&config.auth.as_ref()?.jwt.as_ref()?.$field)),
        }
    };
}

fn algorithms(v: &Value) -> Result<Vec<SigningAlgorithm>, String> {
    let found = value::texts(v).iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err("use at least one algorithm".to_owned()) } else { Ok(found) }
}

fn grants_claim(v: &Value) -> Result<String, String> {
    let text = value::text(v);
    if text.is_empty() { Err("use the name of a claim".to_owned()) } else { Ok(text) }
}

fn of_path(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

macro_rules! statsd_key {
    ($name:literal, $alias:literal, $about:literal, $field:ident) => {
        ConfigKey {
            name: $name,
            alias: Some($alias),
            kind: ValueKind::Text,
            about: $about,
            set: |config, v| {
                config.statsd.get_or_insert_with(Statsd::default).$field = value::text(v);
                Ok(())
            },
            value: |config| config.statsd.as_ref().map(|s| Value::String(s.$field.clone())),
        }
    };
}

pub(super) const KEYS: &[ConfigKey] = &[
    ConfigKey {
        name: "pid_file",
        alias: None,
        kind: ValueKind::Text,
        about: "file for the process id, locked while the server runs; empty for none",
        set: |config, v| {
            config.pid_file = Some(value::text(v)).filter(|t| !t.is_empty()).map(PathBuf::from);
            Ok(())
        },
        value: |config| {
            let path = config.pid_file.as_ref().map(|path| path.display().to_string());
            Some(Value::String(path.unwrap_or_default()))
        },
    },
    ConfigKey {
        name: "bind_address",
        alias: None,
        kind: ValueKind::TextOrTexts,
        about: "address to listen on, host:port or unix:///path, or a list; :7123 is every interface",
        set: |config, v| {
            config.bind_addresses = bind_addresses(&value::texts(v))?;
            Ok(())
        },
        value: |config| {
            let texts: Vec<_> = config.bind_addresses.iter().map(ToString::to_string).collect();
            Some(match texts.as_slice() {
                [only] => Value::String(only.clone()),
                _ => value::of_texts(&texts),
            })
        },
    },
    ConfigKey {
        name: "admin_address",
        alias: None,
        kind: ValueKind::Text,
        about: "address for metrics and health alone; then bind_address serves no metrics; empty for none",
        set: |config, v| {
            let text = value::text(v);
            config.admin_address = (!text.is_empty()).then(|| text.parse()).transpose()?;
            Ok(())
        },
        value: |config| {
            let address = config.admin_address.as_ref().map(ToString::to_string);
            Some(Value::String(address.unwrap_or_default()))
        },
    },
    ConfigKey {
        name: "unix_socket_mode",
        alias: None,
        kind: ValueKind::Text,
        about: "permissions of Unix sockets, octal; a client needs the write permission",
        set: |config, v| {
            config.unix_socket_mode = value::text(v).parse()?;
            Ok(())
        },
        value: |config| Some(Value::String(config.unix_socket_mode.to_string())),
    },
    ConfigKey {
        name: "unix_socket_owner",
        alias: None,
        kind: ValueKind::Text,
        about: "owner of Unix sockets: USER, USER:GROUP or :GROUP; empty for the server's own",
        set: |config, v| {
            config.unix_socket_owner = value::text(v).parse()?;
            Ok(())
        },
        value: |config| Some(Value::String(config.unix_socket_owner.to_string())),
    },
    seconds_key!(
        "shutdown_timeout",
        SECONDS,
        "seconds that a stopping server waits for current requests",
        shutdown_timeout
    ),
    ConfigKey {
        name: "cors_allowed_origins",
        alias: None,
        kind: ValueKind::Texts,
        about: "browser origins that may use the server; * matches any characters",
        set: |config, v| {
            config.cors_allowed_origins = value::texts(v);
            Ok(())
        },
        value: |config| Some(value::of_texts(&config.cors_allowed_origins)),
    },
    size_key!(
        "http_read_buffer_size",
        BYTES,
        "largest read buffer of an HTTP connection, bytes",
        http_read_buffer_size
    ),
    size_key!(
        "http_write_buffer_size",
        IGNORED_BYTES,
        "accepted for configuration files of 0.x, and ignored",
        http_write_buffer_size
    ),
    size_key!(
        "tcp_read_buffer_size",
        BYTES,
        "read buffer of a styx/0 connection, bytes",
        tcp_read_buffer_size
    ),
    size_key!(
        "tcp_write_buffer_size",
        BYTES,
        "write buffer of a styx/0 connection, bytes",
        tcp_write_buffer_size
    ),
    seconds_key!(
        "tcp_timeout",
        SECONDS_FROM_1,
        "seconds that a peer may be silent, or not read, during a request or on a stream",
        tcp_timeout
    ),
    size_key!(
        "websocket_read_buffer_size",
        BYTES,
        "read buffer of a WebSocket connection, bytes",
        websocket_read_buffer_size
    ),
    size_key!(
        "websocket_write_buffer_size",
        BYTES,
        "write buffer of a WebSocket connection, bytes",
        websocket_write_buffer_size
    ),
    size_key!(
        "max_connections",
        ValueKind::Number { min: 1, max: 1_000_000 },
        "largest number of open connections; more are answered 503",
        max_connections
    ),
    size_key!(
        "max_in_flight_bytes",
        ValueKind::Number { min: 4 << 20, max: 1 << 40 },
        "most bytes of all requests together in memory",
        max_in_flight_bytes
    ),
    size_key!(
        "max_answer_bytes",
        ValueKind::Number { min: 1 << 20, max: 1 << 40 },
        "most bytes of all answers together in memory; beyond it they are sent in small pieces",
        max_answer_bytes
    ),
    size_key!(
        "max_cache_bytes",
        ValueKind::Number { min: 0, max: 1 << 40 },
        "most bytes of the newest records in memory; 0 for 5 % of the memory, at most 1 GiB",
        max_cache_bytes
    ),
    size_key!(
        "max_log_record_size",
        // Not less than the default of `max_record_size`, with which a log can always be created.
        ValueKind::Number { min: 1 << 20, max: 1 << 30 },
        "largest max_record_size with which a log can be created, bytes",
        max_log_record_size
    ),
    size_key!(
        "min_free_disk",
        ValueKind::Number { min: 0, max: 1 << 50 },
        "bytes that appends leave free on the disk; with less they are answered 507; 0 for none",
        min_free_disk
    ),
    size_key!(
        "worker_threads",
        ValueKind::Number { min: 0, max: 1024 },
        "threads that serve connections; 0 for half of the cores",
        worker_threads
    ),
    seconds_key!(
        "idle_timeout",
        SECONDS_FROM_1,
        "seconds that a kept-alive connection may be without a request",
        idle_timeout
    ),
    ConfigKey {
        name: "limits_file",
        alias: None,
        kind: ValueKind::Text,
        about: "file with limits of principals and logs, read again when it changes; empty for none",
        set: |config, v| {
            config.limits_file = Some(value::text(v)).filter(|t| !t.is_empty()).map(PathBuf::from);
            Ok(())
        },
        value: |config| Some(of_path(config.limits_file.as_deref().unwrap_or(Path::new("")))),
    },
    tls_path_key!(
        "tls.certificate",
        "file with the certificate of the server, PEM; empty for no TLS",
        certificate
    ),
    tls_path_key!("tls.key", "file with the private key of the certificate, PEM", key),
    tls_path_key!(
        "tls.client_ca",
        "file with the authorities that sign the certificates of clients, PEM",
        client_ca
    ),
    ConfigKey {
        name: "tls.client_auth",
        alias: None,
        kind: ValueKind::Text,
        about: "certificates of clients: off, optional or required; empty for required if there is a client_ca",
        set: |config, v| {
            let text = value::text(v);
            config.tls.client_auth = (!text.is_empty()).then(|| text.parse()).transpose()?;
            Ok(())
        },
        value: |config| {
            let auth = config.tls.client_auth.map(|auth| auth.to_string());
            Some(Value::String(auth.unwrap_or_default()))
        },
    },
    ConfigKey {
        name: "tls.min_version",
        alias: None,
        kind: ValueKind::Text,
        about: "oldest version of TLS that is accepted: 1.2 or 1.3",
        set: |config, v| {
            config.tls.min_version = value::text(v).parse()?;
            Ok(())
        },
        value: |config| Some(Value::String(config.tls.min_version.to_string())),
    },
    ConfigKey {
        name: "log_manager.data_directory",
        alias: Some("DATA_DIRECTORY"),
        kind: ValueKind::Text,
        about: "directory of the logs; created if it does not exist",
        set: |config, v| {
            let text = value::text(v);
            if text.is_empty() {
                return Err("use the path of a directory".to_owned());
            }
            config.log_manager.data_directory = PathBuf::from(text);
            Ok(())
        },
        value: |config| {
            Some(Value::String(config.log_manager.data_directory.display().to_string()))
        },
    },
    size_key!(
        "log_manager.read_buffer_size",
        BYTES,
        "bytes read from a log at a time, and about the largest long-polling answer",
        log_manager.read_buffer_size
    ),
    size_key!(
        "log_manager.write_buffer_size",
        IGNORED_BYTES,
        "accepted for configuration files of 0.x, and ignored",
        log_manager.write_buffer_size
    ),
    ConfigKey {
        name: "log_manager.pad_commits",
        alias: Some("PAD_COMMITS"),
        kind: ValueKind::Bool,
        about: "start every commit on a 4 KiB boundary",
        set: |config, v| {
            config.log_manager.pad_commits = value::boolean(v);
            Ok(())
        },
        value: |config| Some(Value::Boolean(config.log_manager.pad_commits)),
    },
    size_key!(
        "log_manager.direct_write_size",
        ValueKind::Number { min: 0, max: 1 << 40 },
        "size in bytes from which a commit bypasses the page cache",
        log_manager.direct_write_size
    ),
    size_key!(
        "log_manager.scrub_bytes_per_second",
        ValueKind::Number { min: 0, max: 1 << 40 },
        "bytes per second of finished segments read once a day to find damage; 0 for none",
        log_manager.scrub_bytes_per_second
    ),
    ConfigKey {
        name: "auth.token_file",
        alias: None,
        kind: ValueKind::Text,
        about: "file with the tokens; empty for tokens.toml in the data directory; it turns access control on",
        set: |config, v| {
            let path = Some(value::text(v)).filter(|text| !text.is_empty()).map(PathBuf::from);
            config.auth.get_or_insert_with(Auth::default).token_file = path;
            Ok(())
        },
        value: |config| {
            let path = config.auth.as_ref()?.token_file.as_ref();
            let path = path.map(|path| path.display().to_string());
            Some(Value::String(path.unwrap_or_default()))
        },
    },
    jwt_key!(
        "auth.jwt.jwks_file",
        ValueKind::Text,
        "file with the public keys of signed tokens (JWKS); it is read again when it changes",
        jwks_file,
        |v| Ok::<_, String>(PathBuf::from(value::text(v))),
        |path: &PathBuf| of_path(path)
    ),
    jwt_key!(
        "auth.jwt.issuer",
        ValueKind::Text,
        "the claim iss of signed tokens",
        issuer,
        |v| Ok::<_, String>(value::text(v)),
        |issuer: &String| Value::String(issuer.clone())
    ),
    jwt_key!(
        "auth.jwt.audience",
        ValueKind::TextOrTexts,
        "the claim aud of signed tokens for this server, or a list of which one is enough",
        audience,
        |v| Ok::<_, String>(value::texts(v)),
        |audience: &Vec<String>| match audience.as_slice() {
            [only] => Value::String(only.clone()),
            _ => value::of_texts(audience),
        }
    ),
    jwt_key!(
        "auth.jwt.algorithms",
        ValueKind::Texts,
        "algorithms of signed tokens; none and those with a shared secret are never accepted",
        algorithms,
        algorithms,
        |algorithms: &Vec<SigningAlgorithm>| value::of_texts(
            &algorithms.iter().map(ToString::to_string).collect::<Vec<_>>()
        )
    ),
    jwt_key!(
        "auth.jwt.leeway",
        ValueKind::Number { min: 0, max: 60 },
        "seconds by which the clocks of the issuer and of this server may differ",
        leeway,
        |v| Ok::<_, String>(value::seconds(v)),
        |leeway: &std::time::Duration| value::of_seconds(*leeway)
    ),
    jwt_key!(
        "auth.jwt.grants_claim",
        ValueKind::Text,
        "the claim with the grants of a signed token, such as [\"read:orders\"]",
        grants_claim,
        grants_claim,
        |claim: &String| Value::String(claim.clone())
    ),
    jwt_key!(
        "auth.jwt.max_token_size",
        ValueKind::Number { min: 256, max: 64 << 10 },
        "largest signed token, bytes",
        max_token_size,
        |v| Ok::<_, String>(value::size(v)),
        |size: &usize| value::of_size(*size)
    ),
    jwt_key!(
        "auth.jwt.max_lifetime",
        SECONDS,
        "longest time in seconds for which a signed token may be valid; 0 for no limit",
        max_lifetime,
        |v| Ok::<_, String>(value::seconds(v)),
        |time: &std::time::Duration| value::of_seconds(*time)
    ),
    jwt_key!(
        "auth.jwt.revoked_file",
        ValueKind::Text,
        "file with the jti of signed tokens that are revoked, one a line; empty for none",
        revoked_file,
        |v| Ok::<_, String>(
            Some(value::text(v)).filter(|text| !text.is_empty()).map(PathBuf::from)
        ),
        |path: &Option<PathBuf>| of_path(path.as_deref().unwrap_or(Path::new("")))
    ),
    archive_url_key!(
        "archive.url",
        "URL of the object store with the history: s3://, gs://, az:// or file://; empty for none",
        url
    ),
    archive_url_key!(
        "archive.replica_of",
        "URL of another server's archive, whose logs this server only reads; empty for none",
        replica_of
    ),
    seconds_key!(
        "archive.refresh",
        ValueKind::Number { min: 1, max: 3600 },
        "seconds between two looks of a replica at a log that changes or is read",
        archive.refresh
    ),
    ConfigKey {
        name: "archive.endpoint",
        alias: None,
        kind: ValueKind::Text,
        about: "address of a store that is not the cloud's own, such as http://127.0.0.1:7070; may be empty",
        set: |config, v| {
            config.archive.endpoint = archive::endpoint(&value::text(v))?;
            Ok(())
        },
        value: |config| Some(Value::String(config.archive.endpoint.clone())),
    },
    ConfigKey {
        name: "archive.region",
        alias: None,
        kind: ValueKind::Text,
        about: "region of the bucket; empty for that of the environment",
        set: |config, v| {
            config.archive.region = value::text(v);
            Ok(())
        },
        value: |config| Some(Value::String(config.archive.region.clone())),
    },
    archive_path_key!(
        "archive.credentials_file",
        "file with the credentials; empty for those of the environment or of the machine",
        credentials_file
    ),
    archive_path_key!(
        "archive.ca_file",
        "file with the authorities that sign the store's certificate, PEM; empty for the system's",
        ca_file
    ),
    ConfigKey {
        name: "archive.checksum",
        alias: None,
        kind: ValueKind::Text,
        about: "checksum that S3 compares with each object: crc64, sha256 or none",
        set: |config, v| {
            config.archive.checksum = value::text(v).parse()?;
            Ok(())
        },
        value: |config| Some(Value::String(config.archive.checksum.to_string())),
    },
    seconds_key!(
        "archive.max_lag",
        SECONDS_FROM_1,
        "age in seconds at which a record is archived although its segment is not full",
        archive.max_lag
    ),
    size_key!(
        "archive.local_max_size",
        ValueKind::Number { min: 0, max: 1 << 50 },
        "most bytes of a log that stay on the disk once they are archived; 0 for no limit",
        archive.local_max_size
    ),
    seconds_key!(
        "archive.local_max_age",
        SECONDS,
        "seconds that records stay on the disk once they are archived; 0 for no limit",
        archive.local_max_age
    ),
    size_key!(
        "archive.uploads",
        ValueKind::Number { min: 1, max: 64 },
        "segments that are uploaded at a time",
        archive.uploads
    ),
    size_key!(
        "archive.upload_bytes_per_second",
        ValueKind::Number { min: 0, max: 1 << 40 },
        "bytes per second of all uploads together; 0 for no limit",
        archive.upload_bytes_per_second
    ),
    size_key!(
        "archive.read_cache_size",
        ValueKind::Number { min: 16 << 20, max: 1 << 50 },
        "most bytes of archived records that stay on the disk after they were read",
        archive.read_cache_size
    ),
    size_key!(
        "archive.read_memory",
        ValueKind::Number { min: 16 << 20, max: 1 << 40 },
        "most bytes of archived records that all readers together have in memory",
        archive.read_memory
    ),
    seconds_key!(
        "archive.delete_grace",
        SECONDS,
        "seconds that objects stay in the store after their records were removed",
        archive.delete_grace
    ),
    ConfigKey {
        name: "archive.collect",
        alias: None,
        kind: ValueKind::Bool,
        about: "once a week, remove objects of this server's logs whose delete_grace has passed",
        set: |config, v| {
            config.archive.collect = value::boolean(v);
            Ok(())
        },
        value: |config| Some(Value::Boolean(config.archive.collect)),
    },
    ConfigKey {
        name: "metrics.per_log",
        alias: None,
        kind: ValueKind::Text,
        about: "metrics of each log: auto (up to 10,000 logs), always or never; totals are always there",
        set: |config, v| {
            config.per_log_metrics = value::text(v).parse()?;
            Ok(())
        },
        value: |config| Some(Value::String(config.per_log_metrics.to_string())),
    },
    statsd_key!("metrics.statsd.protocol", "STATSD_PROTOCOL", "protocol of StatsD: udp", protocol),
    statsd_key!("metrics.statsd.address", "STATSD_ADDRESS", "host:port of StatsD", address),
    statsd_key!(
        "metrics.statsd.prefix",
        "STATSD_PREFIX",
        "prefix of every gauge's name; may be empty",
        prefix
    ),
];
