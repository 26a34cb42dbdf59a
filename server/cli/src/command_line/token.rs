//! The flags of `styx token …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use styx_server::auth::Grant;

use crate::token::{Expiry, Lifetime};

const GRANTS: &str = "\
Grants are ACTION:LOG or ACTION:PREFIX*, as in read:orders, append:orders-* or admin:*.
  read     read and follow records; change cursors with the token's name
  append   append records
  manage   create, delete, truncate, trim, back up and restore logs; change every cursor
  observe  see logs and their metrics
  admin    all of them

Examples:
  styx token create --name admin --allow 'admin:*'
  styx token create --name ci --allow 'append:orders-*' --allow 'read:*' --expires 30d
  styx token create --name billing --allow 'read:orders' --certificate 'CN=billing'";

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print its secret, which is shown only once
    ///
    /// The first token turns access control on: from then on, every request needs a token. A
    /// running server notices within two seconds.
    #[command(after_help = GRANTS)]
    Create {
        #[command(flatten)]
        file: TokenFileArguments,
        /// Name of the token: letters, digits, _ and -
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What the token allows; may be given several times
        #[arg(long, value_name = "ACTION:LOG", required = true)]
        allow: Vec<Grant>,
        /// When it expires: 90s, 12h, 30d, 1y, never, or a time such as 2027-01-31T12:00:00Z
        #[arg(long, value_name = "WHEN", default_value = "never")]
        expires: Expiry,
        /// Subject of a client certificate that takes the place of a secret
        #[arg(long, value_name = "SUBJECT")]
        certificate: Option<String>,
    },
    /// List the tokens, without their secrets
    List {
        #[command(flatten)]
        file: TokenFileArguments,
    },
    /// Remove a token; a running server ends its streams within 5 seconds
    Revoke {
        #[command(flatten)]
        file: TokenFileArguments,
        /// The token
        name: String,
    },
    /// Give a token a second secret, and print it; the older one stays valid for a while
    ///
    /// Replace the older secret everywhere, then run this command again with --finish. Without
    /// that, the older secret expires by itself after --grace.
    Rotate {
        #[command(flatten)]
        file: TokenFileArguments,
        /// The token
        name: String,
        /// How long the older secret stays valid
        #[arg(long, value_name = "TIME", default_value = "24h", conflicts_with = "finish")]
        grace: Lifetime,
        /// When the new secret expires [default: after the same time as the older one]
        #[arg(long, value_name = "WHEN", conflicts_with = "finish")]
        expires: Option<Expiry>,
        /// Remove the older secret now, and make no new one
        #[arg(long)]
        finish: bool,
    },
}

/// Which token file.
#[derive(Debug, Args)]
pub(crate) struct TokenFileArguments {
    /// Configuration file of the server, which may set auth.token_file
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory of the server, which has the file tokens.toml
    #[arg(short, long, value_name = "DIR")]
    pub(crate) data_directory: Option<String>,
}
