//! Encryption of the ports, and who may call.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use super::error::{ConfigError, within};
use crate::transport::origin::Origin;
use crate::transport::tls::TlsFiles;

/// Origins that may be listed: each is compared with that of a request.
const ORIGINS_MAX: usize = 64;

#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessFlags {
    /// Certificate of both ports (PEM), followed by its intermediate certificates; with it, the gRPC
    /// port speaks TLS alone, and the HTTP port takes posts and tokens through TLS alone
    #[arg(long, env = "POUNCE_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, env = "POUNCE_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// CA bundle (PEM) used to verify client certificates; with it, every client needs one (mutual
    /// TLS)
    #[arg(long, env = "POUNCE_TLS_CLIENT_CA", requires = "tls_cert", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// File of the bearer tokens that callers need, one a line, as `pounce token` makes them
    #[arg(long, env = "POUNCE_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Posts per second for each token, with a burst of one second; 0: no limit
    #[arg(long, env = "POUNCE_TOKEN_POSTS_PER_SECOND_MAX", default_value_t = 0, value_name = "N")]
    token_posts_per_second_max: u32,
    /// Origins of web pages that may call over gRPC-Web, on the HTTP port, such as
    /// https://board.example [default: none: gRPC-Web is off]
    #[arg(long, env = "POUNCE_GRPC_WEB_ORIGINS", value_delimiter = ',', value_name = "ORIGIN,..")]
    grpc_web_origins: Vec<String>,
}

/// Checked settings of access; what they mean is told at [`AccessFlags`].
pub(super) struct AccessConfig {
    pub(super) tls: Option<TlsFiles>,
    pub(super) tokens: Option<PathBuf>,
    pub(super) token_posts_per_second_max: Option<NonZeroU32>,
    pub(super) web_origins: Vec<Origin>,
}

impl AccessFlags {
    pub(super) fn checked(self) -> Result<AccessConfig, ConfigError> {
        let token_posts_per_second_max = NonZeroU32::new(self.token_posts_per_second_max);
        if token_posts_per_second_max.is_some() && self.tokens.is_none() {
            let (flag, without) = ("--token-posts-per-second-max", "without --tokens");
            return Err(ConfigError::NoEffect { flag, without });
        }
        let client_ca = self.tls_client_ca;
        let pair = self.tls_cert.zip(self.tls_key);
        Ok(AccessConfig {
            tls: pair.map(|(cert, key)| TlsFiles { cert, key, client_ca }),
            tokens: self.tokens,
            token_posts_per_second_max,
            web_origins: origins(&self.grpc_web_origins)?,
        })
    }
}

fn origins(listed: &[String]) -> Result<Vec<Origin>, ConfigError> {
    let flag = "--grpc-web-origins";
    within(flag, listed.len(), 0, ORIGINS_MAX)?;
    let parsed = listed.iter().map(|origin| {
        Origin::parse(origin).ok_or_else(|| ConfigError::OutOfRange {
            flag,
            value: origin.clone(),
            range: "an origin as browsers send it, such as https://board.example or \
                    http://localhost:3000: lower case, without a path, a default port or *"
                .to_owned(),
        })
    });
    parsed.collect()
}
