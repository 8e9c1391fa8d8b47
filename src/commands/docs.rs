//! `pounce docs`: docs/configuration.md, from the definitions that the flags
//! themselves come from.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Arg, Command};

const HEAD: &str = "\
<!-- Written by `pounce docs`, from the flags' own definitions; a test compares. -->

# Configuration

Every setting is a flag; where a variable is named, it sets the same, and the
flag goes first. Bad settings end with one line and exit code 2, before
anything is served.
";

/// Shows the page.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn run(cli: &Command) -> ExitCode {
    print!("{}", page(cli));
    ExitCode::SUCCESS
}

fn page(cli: &Command) -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "Every command", "", cli.get_arguments());
    let serve = cli.find_subcommand("serve");
    let of_serve: Vec<_> = serve.iter().flat_map(|serve| serve.get_arguments()).collect();
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        let title = format!("`pounce {}`", command.get_name());
        let mut about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let own = |arg: &&Arg| {
            command.get_name() == "serve" || !of_serve.iter().any(|other| same(other, arg))
        };
        let arguments: Vec<_> = command.get_arguments().filter(own).collect();
        if arguments.len() < command.get_arguments().count() {
            about += "; takes the settings of `pounce serve` as well";
        }
        section(&mut page, &title, &about, arguments.into_iter());
        for inner in command.get_subcommands() {
            let title = format!("`pounce {} {}`", command.get_name(), inner.get_name());
            let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
            section(&mut page, &title, &about, inner.get_arguments());
        }
    }
    page
}

fn same(one: &Arg, other: &Arg) -> bool {
    one.get_id() == other.get_id() && one.get_help() == other.get_help()
}

fn section<'a>(page: &mut String, title: &str, about: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut lines = vec![format!("\n## {title}\n")];
    if !about.is_empty() {
        lines.push(format!("{about}.\n"));
    }
    lines.push("| setting | variable | default | meaning |\n| --- | --- | --- | --- |".to_owned());
    lines.extend(args.filter(|arg| !arg.is_hide_set()).map(row));
    for line in lines {
        // Writing to a String can't fail.
        let _ = writeln!(page, "{line}");
    }
}

fn row(arg: &Arg) -> String {
    let names: Vec<&str> = arg.get_value_names().unwrap_or_default().iter().map(|n| &**n).collect();
    let names = names.join(" ");
    let setting = match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {names}"),
        Some(long) => format!("--{long}"),
        None => names,
    };
    let variable = arg.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let defaults = defaults.join(",");
    let shown = !defaults.is_empty() && arg.get_action().takes_values();
    let default = if shown { code(&defaults) } else { String::new() };
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| code(value.get_name())).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        meaning += &format!(": {}", values.join(", "));
    }
    format!("| {} | {variable} | {default} | {} |", code(&setting), meaning.replace('|', "\\|"))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
