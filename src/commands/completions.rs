//! `pounce completions` and `pounce man`: the command line for shells and for `man`, from the
//! definitions that the flags themselves come from.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

/// The flags of `pounce completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionFlags {
    /// Shell that is to complete commands and flags
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// The flags of `pounce man`.
#[derive(Debug, Args)]
pub(crate) struct ManFlags {
    /// Folder for the pages, one for each command [default: the page of `pounce` to stdout]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Writes the completion script to stdout.
pub(crate) fn run(flags: &CompletionFlags, mut cli: Command) -> ExitCode {
    clap_complete::generate(flags.shell, &mut cli, "pounce", &mut std::io::stdout());
    ExitCode::SUCCESS
}

/// Writes the pages.
pub(crate) fn man(flags: &ManFlags, cli: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match &flags.folder {
        Some(folder) => {
            let fault = |error| format!("{}: {error}", folder.display());
            std::fs::create_dir_all(folder).map_err(fault)?;
            clap_mangen::generate_to(cli, folder).map_err(fault)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(cli).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
