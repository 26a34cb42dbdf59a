//! The flags of `styx token …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use styx_server::auth::Grant;

use crate::token::{Expiry, Lifetime, SignedExpiry};

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
    /// Create a key pair that signs tokens, for a server with [auth.jwt]
    ///
    /// The private key is for the application that signs tokens for its clients, or for `styx
    /// token sign`. The public key is added to the JWKS, which the server reads again when it
    /// changes.
    Keypair {
        /// New file for the private key, in PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File with the public keys (JWKS), which is created if it does not exist
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
    },
    /// Sign a token (JWT) with a private key, and print it
    #[command(after_help = GRANTS_OF_SIGNED)]
    Sign(SignArguments),
}

const GRANTS_OF_SIGNED: &str = "\
Examples:
  styx token keypair --key key.pem --jwks keys.json
  styx token sign --key key.pem --issuer app --audience styx \\
    --subject alice --allow 'read:orders' --expires 5m";

/// The flags of `styx token sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// File with the private key, in PEM (ES256)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Name of the token's holder, in the audit log and in messages
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: String,
    /// What the token allows; may be given several times
    #[arg(long, value_name = "ACTION:LOG", required = true)]
    pub(crate) allow: Vec<Grant>,
    /// When it expires: 90s, 5m, 12h, or a time such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", default_value = "5m")]
    pub(crate) expires: SignedExpiry,
    /// Issuer of the token, as in auth.jwt.issuer
    #[arg(long, value_name = "TEXT")]
    pub(crate) issuer: Option<String>,
    /// Audience of the token, as in auth.jwt.audience
    #[arg(long, value_name = "TEXT")]
    pub(crate) audience: Option<String>,
    /// Configuration file of the server, which has the issuer and the audience
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
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
