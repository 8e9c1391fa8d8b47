//! `pounce token`: a bearer token and what the service has to know of it.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pounce::auth::tokens::{NewToken, Scope};

/// The flags of `pounce token`.
#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    /// Name of the caller that will use it: letters, digits, dashes, dots, underscores
    name: String,
    /// What the token allows: score, alerts:read, alerts:write, cases:read,
    /// cases:write
    #[arg(long, value_delimiter = ',', default_value = "score", value_name = "SCOPE,..")]
    scopes: Vec<Scope>,
    /// Limit of posts per second for this token, instead of the server's --token-posts-per-second-max
    #[arg(long, value_name = "N")]
    posts_per_second_max: Option<NonZeroU32>,
    /// Append the line for `serve --tokens` to this file instead of writing it to stderr
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// Makes a token: the secret to stdout, alone, so that a script can take it;
/// its line to a file or stderr.
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "the command's results")]
pub(crate) fn run(flags: &TokenFlags) -> Result<ExitCode, Box<dyn Error>> {
    let made = NewToken::make(&flags.name, &flags.scopes, flags.posts_per_second_max)?;
    match &flags.tokens {
        Some(file) => made.append_to(file)?,
        None => eprintln!("{}", made.line),
    }
    println!("{}", made.token);
    Ok(ExitCode::SUCCESS)
}
