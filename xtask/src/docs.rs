//! `cargo xtask docs`: the reference pages, made from the program itself.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result, bail};

use crate::{clients, config, metadata, run};

/// A page and what writes it.
type Page = (&'static str, fn() -> Result<String>);

/// Every page; the one that needs a build of the whole program comes last.
const PAGES: &[Page] = &[
    ("docs/reference/errors.md", errors),
    ("docs/reference/config.md", config::page),
    ("docs/reference/seccomp.md", seccomp),
    ("docs/reference/openapi.json", openapi),
    ("docs/reference/cli.md", cli),
];

/// Writes every reference page, or with `check` fails when one differs from what the program says.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (path, page) in PAGES {
        let (file, text) = (run::root().join(path), page()?);
        if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
            stale.push(*path);
        } else {
            std::fs::write(&file, text).with_context(|| format!("failed to write {path}"))?;
            println!("wrote {path}");
        }
    }
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask docs`", stale.join(", "));
    }
    // Made from one of these pages.
    clients::run(check)
}

fn errors() -> Result<String> {
    let mut page = "# Error codes\n\nThe same on the command line (`error[CODE]: ...`), in HTTP answers and in events. Made by `cargo xtask docs`.\n\n| code | meaning | exit status | try again unchanged |\n|---|---|---|---|\n".to_owned();
    for code in model::Code::ALL {
        let again = if code.is_retriable() { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{code}` | {} | {} | {again} |", code.meaning(), code.exit_status());
    }
    Ok(page)
}

/// The list of system calls, which the crate that holds it prints.
fn seccomp() -> Result<String> {
    example("seccomp_reference")
}

/// The document of the HTTP interface, which the crate that serves it prints.
fn openapi() -> Result<String> {
    example("openapi")
}

/// What an example prints. It is built with the whole workspace: for its crate alone, half of what that needs would be
/// built again with other features.
fn example(name: &str) -> Result<String> {
    run::run("cargo", &["build", "--workspace", "--locked", "--example", name])?;
    let program = metadata::target_directory()?.join("debug/examples").join(name);
    run::output(program.to_str().context("the target directory is not UTF-8")?, &[])
}

/// Every command's own help.
fn cli() -> Result<String> {
    run::build_beside_tests("lazaret")?;
    let lazaret = metadata::target_directory()?.join("debug/lazaret");
    let mut page = "# Command line\n\nWhat every command says of itself. Made by `cargo xtask docs`.\n".to_owned();
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = left.pop() {
        let help = help(&lazaret, &path)?;
        let heading = path.iter().fold("lazaret".to_owned(), |all, word| all + " " + word);
        let _ = write!(page, "\n## {heading}\n\n```text\n{}\n```\n", help.trim_end());
        let mut children: Vec<Vec<String>> = commands(&help).map(|name| [path.as_slice(), &[name]].concat()).collect();
        children.reverse();
        left.extend(children);
    }
    Ok(page)
}

fn help(lazaret: &Path, path: &[String]) -> Result<String> {
    let program = lazaret.to_str().context("the target directory is not UTF-8")?;
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    run::output(program, &args)
}

/// The names under `Commands:` in a help text.
fn commands(help: &str) -> impl Iterator<Item = String> {
    let section = help.split_once("Commands:\n").map_or("", |(_, after)| after);
    let lines = section.lines().take_while(|line| line.starts_with(' '));
    // A name stands two columns in; what stands further in is the rest of a description.
    let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_help() {
        let help = "Usage: x\n\nCommands:\n  run     Runs\n          more words\n  engine  Lists\n  help    Prints\n\nOptions:\n  -h\n";
        assert_eq!(commands(help).collect::<Vec<_>>(), ["run", "engine"]);
    }
}
