//! `pounce check-config`: would `serve` start with these settings?

use std::process::ExitCode;

use pounce::config::ServeFlags;

use super::terminal::escaped;

/// Says so, or says why not with exit code 2. Opens no socket and no model.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command's output")]
pub(crate) fn run(flags: ServeFlags) -> ExitCode {
    match flags.checked() {
        Ok(_) => {
            println!("the settings are valid");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pounce: {}", escaped(&error.to_string()));
            ExitCode::from(2)
        }
    }
}
